// The page: what it knows, and what happens when something is pressed.

import * as api from "./api.js";
import { decode, encodeWav, microphoneProblem, record, SAMPLING_RATE } from "./audio.js";
import "./timeline.js";
import { render } from "./vendor/lit-html.js";
import { page } from "./view.js";

const LONGEST_RECORDING = 600; // seconds
const HEALTH_EVERY = 15_000; // ms
const ANNOUNCE_EVERY = 2_000; // ms between two pieces of an answer read out

const state = {
  models: [],
  model: "",
  health: "loading",
  needsKey: false,
  clips: [],
  clip: null, // the one that is looked at
  task: "transcribe",
  language: "",
  question: "",
  wantsTimes: true, // of words
  recorder: null,
  isBusy: false, // with runs
  isDropping: false,
  notice: null, // a Problem that belongs to no clip
};
let nextId = 1;
let abort = null; // of what is running

const actions = {
  choose: (files) => addFiles([...files]),
  toggleRecording: () => (state.recorder ? stopRecording() : startRecording()),
  look: (clip) => change({ clip }, () => inspect(clip)),
  remove,
  set: (fields) => change(fields),
  saveKey(key) {
    api.setKey(key);
    change({ needsKey: false, notice: null }, start);
  },
  inspect,
  toggleRun: (clips) => (abort ? abort.abort() : runAll(clips)),
  seek: (seconds) => document.querySelector("audio-timeline").seek(seconds),
  moved: lightUp,
  copy: (text) => navigator.clipboard.writeText(text).then(() => announce("Copied")),
};

function change(fields, next) {
  Object.assign(state, fields);
  draw();
  next?.();
}

function draw() {
  render(page(state, actions), document.querySelector("#app"));
}

/** Tell those who listen to the page. */
function announce(text) {
  document.querySelector("#announcer").textContent = text;
}

function told(error) {
  if (error instanceof api.Problem) return error;
  console.error(error);
  return new api.Problem("Something unexpected happened on this page.", { detail: error.message });
}

function complain(error) {
  const problem = told(error);
  if (problem.status === 401) state.needsKey = true;
  announce(problem.message);
  return problem;
}

// ---- clips

async function addFiles(files) {
  state.notice = null;
  const clips = files.map((file) => ({
    id: nextId++,
    name: file.name,
    blob: file,
    url: URL.createObjectURL(file),
    runs: {},
  }));
  if (!clips.length) return;
  state.clips.push(...clips);
  actions.look(clips[0]);
  announce(clips.length === 1 ? `${clips[0].name} added` : `${clips.length} files added`);
  for (const clip of clips) {
    try {
      clip.samples = await decode(clip.blob);
      clip.duration = clip.samples.length / SAMPLING_RATE;
      clip.peak = clip.samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
      clip.wav = () => encodeWav(clip.samples);
    } catch {
      clip.cannotPlay = true; // the server may read it all the same
    }
    draw();
  }
}

function remove(clip) {
  const index = state.clips.indexOf(clip);
  state.clips.splice(index, 1);
  URL.revokeObjectURL(clip.url);
  const left = state.clips[Math.min(index, state.clips.length - 1)] ?? null;
  if (state.clip === clip) change({ clip: left }, () => left && inspect(left));
  else draw();
}

async function inspect(clip) {
  if (clip.inspection || clip.isInspecting || !state.model) return;
  Object.assign(clip, { isInspecting: true, inspectionProblem: null });
  draw();
  try {
    clip.inspection = await api.inspect(clip, state.model);
  } catch (error) {
    clip.inspectionProblem = complain(error);
  }
  clip.isInspecting = false;
  draw();
}

async function startRecording() {
  state.notice = null;
  try {
    state.recorder = await record();
  } catch (error) {
    change({ notice: new api.Problem(microphoneProblem(error)) });
    announce(state.notice.message);
    return;
  }
  announce("Recording");
  const tick = () => {
    if (!state.recorder) return;
    const seconds = (performance.now() - state.recorder.startedAt) / 1000;
    if (seconds >= LONGEST_RECORDING) stopRecording();
    draw();
    setTimeout(tick, 80);
  };
  tick();
}

async function stopRecording() {
  const { recorder } = state;
  change({ recorder: null });
  try {
    const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
    addFiles([new File([await recorder.stop()], `Recording ${time}.wav`, { type: "audio/wav" })]);
  } catch {
    change({ notice: new api.Problem("Nothing was recorded. Try a little longer.") });
  }
}

// ---- runs

async function runAll(clips) {
  const { task } = state;
  if (task === "ask" && !state.question.trim()) {
    change({ notice: new api.Problem("Type a question first.") });
    document.querySelector("#question")?.focus();
    return;
  }
  abort = new AbortController();
  state.notice = null;
  state.isBusy = true;
  for (const clip of clips) clip.runs[task] = { status: "waiting", text: "" };
  for (const clip of clips) {
    const run = clip.runs[task];
    if (abort.signal.aborted) run.status = "stopped";
    else await runOne(clip, run, task, abort.signal);
  }
  abort = null;
  change({ isBusy: false });
}

async function runOne(clip, run, task, signal) {
  const { model, language, wantsTimes } = state;
  const question = task === "caption" ? api.CAPTION_PROMPT : state.question.trim();
  const startedAt = performance.now();
  Object.assign(run, { status: "running", question: task === "ask" ? question : null });
  announce("Listening");
  draw();
  try {
    const events =
      task === "transcribe"
        ? api.transcribe(clip, { model, language, wantsTimes }, signal)
        : api.ask(clip, { model, question }, signal);
    let saidAt = performance.now();
    let unsaid = "";
    for await (const { text, done } of events) {
      const now = performance.now();
      if (text) {
        run.firstAfter ??= now - startedAt;
        run.text += text;
        unsaid += text;
        if (now - saidAt > ANNOUNCE_EVERY) {
          announce(unsaid);
          [saidAt, unsaid] = [now, ""];
        }
      } else {
        finish(run, task, done, now - startedAt);
        run.hasNoTimes = task === "transcribe" && wantsTimes && !done.words?.length;
      }
      draw();
    }
    announce(run.text ? `${unsaid} – done.` : "Done; there are no words.");
  } catch (error) {
    if (error.name === "AbortError") {
      if (run.status === "running") run.status = "stopped";
      announce("Stopped");
    } else {
      Object.assign(run, { status: "failed", problem: complain(error) });
    }
  }
  draw();
}

/** Take down what the end of a stream tells, and how fast it was. */
function finish(run, task, done, milliseconds) {
  const { numTokens } = done;
  // Tokens of an answer come one by one: its speed is that after the first. Those of a transcript
  // come chunk by chunk: its speed is over all.
  const isOneByOne = task !== "transcribe" && numTokens > 1 && milliseconds > run.firstAfter;
  Object.assign(run, {
    status: "done",
    text: done.text ?? run.text,
    words: done.words,
    finishReason: done.finish_reason,
    warnings: done.warnings ?? [],
    seconds: milliseconds / 1000,
    numTokens,
    isOneByOne,
    tokensPerSecond:
      numTokens &&
      1000 * (isOneByOne ? (numTokens - 1) / (milliseconds - run.firstAfter) : numTokens / milliseconds),
  });
}

/** Light up the word that is being played. */
function lightUp(index) {
  const answer = document.querySelector(".answer");
  answer?.querySelector(".is-heard")?.classList.remove("is-heard");
  answer?.querySelector(`[data-word="${index}"]`)?.classList.add("is-heard");
}

// ---- the server

async function start() {
  try {
    const models = await api.models();
    change({ models, model: models[0] ?? "", notice: null });
    if (state.clip) inspect(state.clip);
  } catch (error) {
    change({ notice: complain(error) });
  }
}

async function watchHealth() {
  if (document.visibilityState === "visible") {
    const health = await api.health();
    if (health !== state.health) change({ health });
    if (health !== "unreachable" && !state.models.length && !state.needsKey) start();
  }
  setTimeout(watchHealth, HEALTH_EVERY);
}

function acceptDrops() {
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    if (!state.isDropping) change({ isDropping: true });
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) change({ isDropping: false });
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    change({ isDropping: false });
    addFiles([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) addFiles([...event.clipboardData.files]);
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (abort) abort.abort();
  else if (state.recorder) stopRecording();
});

draw();
acceptDrops();
start();
watchHealth();
