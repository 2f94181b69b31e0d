// Sound in the browser: decoding, recording, WAV files.

export const SAMPLING_RATE = 16000; // Hz: what the model hears
const RAMP = 160; // samples over which a gate opens: 10 ms
const CLOSED_GAIN = 0.03;

/** Decode a file to mono samples at 16 kHz; throws where this browser cannot. */
export async function decode(blob) {
  const context = new OfflineAudioContext(1, 1, SAMPLING_RATE);
  const buffer = await context.decodeAudioData(await blob.arrayBuffer());
  const samples = buffer.getChannelData(0);
  for (let channel = 1; channel < buffer.numberOfChannels; channel++) {
    const other = buffer.getChannelData(channel);
    for (let i = 0; i < samples.length; i++) samples[i] += other[i];
  }
  const count = buffer.numberOfChannels;
  return count === 1 ? samples : samples.map((sample) => sample / count);
}

/** A WAV file of 16-bit samples. */
export function encodeWav(samples) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (offset, letters) =>
    [...letters].forEach((letter, i) => view.setUint8(offset + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, SAMPLING_RATE, true);
  view.setUint32(28, 2 * SAMPLING_RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => {
    view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, sample)) * 32767, true);
  });
  return new Blob([view], { type: "audio/wav" });
}

/** The samples as loud as they are where `isOpen(seconds)` says so, and nearly silent elsewhere. */
export function gate(samples, isOpen) {
  let gain = CLOSED_GAIN;
  let target = CLOSED_GAIN;
  return samples.map((sample, i) => {
    if (i % RAMP === 0) target = isOpen(i / SAMPLING_RATE) ? 1 : CLOSED_GAIN;
    gain += (target - gain) / (RAMP / 4);
    return sample * gain;
  });
}

/** Why the microphone cannot be used, in plain words. */
export function microphoneProblem(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "The microphone is blocked. Allow it for this page in the browser's settings.";
    case "NotFoundError":
      return "No microphone was found.";
    case "NotReadableError":
      return "Another program holds the microphone.";
    default:
      return "The microphone cannot be used: browsers offer it on https and on localhost only.";
  }
}

/** Start recording; the recorder's `stop()` gives a WAV file, its `level()` how loud it is now. */
export async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  context.createMediaStreamSource(stream).connect(analyser);
  const frame = new Float32Array(analyser.fftSize);
  const recorder = new MediaRecorder(stream);
  const pieces = [];
  recorder.ondataavailable = ({ data }) => pieces.push(data);
  recorder.start();

  return {
    startedAt: performance.now(),
    /** 0 to 1, over 60 dB. */
    level() {
      analyser.getFloatTimeDomainData(frame);
      const power = frame.reduce((sum, sample) => sum + sample * sample, 0) / frame.length;
      return Math.max(0, Math.min(1, 1 + Math.log10(power + 1e-9) / 6));
    },
    async stop() {
      const stopped = new Promise((resolve) => (recorder.onstop = resolve));
      if (recorder.state !== "inactive") {
        recorder.stop();
        await stopped;
      }
      stream.getTracks().forEach((track) => track.stop());
      context.close();
      return encodeWav(await decode(new Blob(pieces, { type: recorder.mimeType })));
    },
  };
}

/** Seconds as 1:02.3 */
export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
}
