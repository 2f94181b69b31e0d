// Lanes of the timeline, drawn on a canvas: words, waveform, spectrogram, experts.

import { SAMPLING_RATE } from "./audio.js";

const ROWS_OF_EXPERTS = 168; // CSS pixels for all of them
const SPECTRUM = {
  dark: ["#121117", "#2a1c5e", "#7a2f8f", "#d5506b", "#ffa552", "#fff3c4"],
  light: ["#ffffff", "#d9d8f5", "#a49be8", "#6a52cf", "#8a2a86", "#2b0b3c"],
};

/** The colour of an expert; neighbours differ most for few, and all differ. */
export function expertColour(index, count, isDark) {
  const hue = (25 + (360 * index) / count) % 360;
  return isDark ? `oklch(0.76 0.14 ${hue})` : `oklch(0.6 0.16 ${hue})`;
}

/** The height of the row of one of so many experts. */
export function rowHeight(experts) {
  return Math.max(3, Math.min(14, Math.floor(ROWS_OF_EXPERTS / (experts || 1))));
}

/** The lanes there are something to show in: name, top and height in CSS pixels. */
export function layout({ samples, words, inspection }) {
  const experts = inspection?.experts?.num_experts ?? 0;
  const lanes = [
    ["Words", words?.length ? 30 : 0],
    ["Wave", samples ? 76 : 0],
    ["Log-mel", inspection ? 132 : 0],
    ["Experts", experts * rowHeight(experts)],
  ];
  let top = 0;
  return lanes
    .filter(([, height]) => height)
    .map(([name, height]) => {
      const lane = { name, top, height };
      top += height + 8;
      return lane;
    });
}

/** The picture of a spectrogram, one pixel for each cell, the lowest pitch at the bottom. */
export function spectrogramPicture({ num_mel_bins: bins, num_columns: columns, data }, isDark) {
  const levels = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const colours = gradient(SPECTRUM[isDark ? "dark" : "light"]);
  const image = new ImageData(columns, bins);
  for (let bin = 0; bin < bins; bin++) {
    const row = (bins - 1 - bin) * columns;
    for (let column = 0; column < columns; column++) {
      image.data.set(colours[levels[bin * columns + column]], 4 * (row + column));
    }
  }
  const canvas = new OffscreenCanvas(columns, bins);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** 256 colours, straight from stop to stop. */
function gradient(stops) {
  const channels = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) * (channels.length - 1);
    const from = Math.min(Math.floor(place), channels.length - 2);
    const share = place - from;
    return [...channels[from].map((a, i) => a + (channels[from + 1][i] - a) * share), 255];
  });
}

/** What every lane needs: where it lies, and which time is where. */
export function scale({ from, to }, width) {
  return { width, x: (seconds) => ((seconds - from) / (to - from)) * width, from, to };
}

export function drawWave(context, { top, height }, { width, from, to }, samples, peak, colour) {
  const middle = top + height / 2;
  const gain = height / 2 / Math.max(peak, 0.01);
  const perPixel = ((to - from) * SAMPLING_RATE) / width;
  context.fillStyle = colour;
  for (let x = 0; x < width; x++) {
    const first = Math.floor(from * SAMPLING_RATE + x * perPixel);
    const last = Math.min(samples.length, Math.max(first + 1, Math.floor(first + perPixel)));
    const stride = Math.max(1, Math.floor((last - first) / 400));
    let low = 0;
    let high = 0;
    for (let i = first; i < last; i += stride) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    context.fillRect(x, middle - high * gain, 1, Math.max(1, (high - low) * gain));
  }
}

export function drawPicture(context, { top, height }, { width, from, to }, picture, columnSeconds) {
  context.imageSmoothingEnabled = true;
  context.drawImage(
    picture,
    from / columnSeconds, 0, (to - from) / columnSeconds, picture.height,
    0, top, width, height,
  );
}

export function drawExperts(context, lane, { x, from, to, width }, experts, colours) {
  const { isDark, solo, empty } = colours;
  const row = lane.height / experts.num_experts;
  context.fillStyle = empty;
  for (let expert = 0; expert < experts.num_experts; expert++) {
    context.fillRect(0, lane.top + expert * row, width, Math.max(1, row - 1));
  }
  const first = Math.max(0, Math.floor(from / experts.token_seconds));
  const last = Math.min(experts.ids.length, Math.ceil(to / experts.token_seconds));
  const gap = x(experts.token_seconds) - x(0) > 4 ? 1 : 0;
  for (let i = first; i < last; i++) {
    const left = x(i * experts.token_seconds);
    const right = Math.min(width, x((i + 1) * experts.token_seconds));
    experts.ids[i].forEach((expert, choice) => {
      const isOut = solo !== null && expert !== solo;
      context.globalAlpha = (0.25 + 0.75 * experts.weights[i][choice]) * (isOut ? 0.2 : 1);
      context.fillStyle = expertColour(expert, experts.num_experts, isDark);
      const top = lane.top + expert * row;
      context.fillRect(left, top, Math.max(0.5, right - left - gap), Math.max(1, row - 1));
    });
  }
  context.globalAlpha = 1;
}

/** Cover what an expert did not hear. */
export function drawVeil(context, { top, height }, { x, from, to }, experts, solo, colour) {
  context.fillStyle = colour;
  context.globalAlpha = 0.78;
  const first = Math.max(0, Math.floor(from / experts.token_seconds));
  const last = Math.min(experts.ids.length, Math.ceil(to / experts.token_seconds));
  for (let i = first; i < last; i++) {
    if (experts.ids[i].includes(solo)) continue;
    const left = Math.round(x(i * experts.token_seconds));
    const right = Math.round(x((i + 1) * experts.token_seconds));
    context.fillRect(left, top, right - left, height);
  }
  context.globalAlpha = 1;
}

/** A word where it is said; one that is shorter than its letters borrows the silence around it. */
export function drawWord(context, { top, height }, { x, width }, words, index, colours) {
  const { word, start, end } = words[index];
  context.font = "13px system-ui, sans-serif";
  context.textBaseline = "middle";
  const room = [
    index > 0 ? x(words[index - 1].end) + 2 : 0,
    index + 1 < words.length ? x(words[index + 1].start) - 2 : width,
  ];
  const letters = context.measureText(word).width + 8;
  const size = Math.max(3, x(end) - x(start) - 1, Math.min(letters, room[1] - room[0]));
  const centre = (x(start) + x(end)) / 2;
  const left = Math.max(room[0], Math.min(centre - size / 2, room[1] - size));
  context.fillStyle = colours.fill;
  context.beginPath();
  context.roundRect(left, top, size, height, 5);
  context.fill();
  if (size < 0.6 * letters) return;
  context.save();
  context.clip();
  context.fillStyle = colours.ink;
  context.fillText(word, left + Math.max(3, (size - letters) / 2 + 4), top + height / 2);
  context.restore();
}

/** The index of the word that is being said, or of none: -1. */
export function wordAt(words, seconds) {
  let low = 0;
  let high = words?.length ?? 0;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (words[middle].start <= seconds) low = middle + 1;
    else high = middle;
  }
  return low > 0 && seconds < words[low - 1].end ? low - 1 : -1;
}
