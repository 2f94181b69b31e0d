// What the page looks like in each state; what models and servers wrote goes in as text only.

import { clock } from "./audio.js";
import { html, nothing } from "./vendor/lit-html.js";

const TASKS = {
  transcribe: { name: "Transcribe", verb: "Transcribe", hint: "Write down what is said." },
  ask: { name: "Ask", verb: "Ask", hint: "Ask a question about the sound." },
  caption: { name: "Caption", verb: "Caption", hint: "Describe everything that can be heard." },
};
const LANGUAGES = [
  "English", "German", "French", "Spanish", "Italian", "Portuguese", "Dutch", "Polish", "Russian",
  "Turkish", "Arabic", "Hindi", "Chinese", "Japanese", "Korean",
];
const HEALTH = {
  ready: "ready",
  loading: "loading the model",
  unloaded: "asleep; the next request wakes it",
  draining: "shutting down",
  failing: "failing; its log says why",
  stalled: "stuck",
  dead: "out of order",
  unreachable: "not reachable",
};
const WARNINGS = { repetition_cut: "The answer went round in circles and was cut." };
const STATUS = { waiting: "waiting", running: "listening", done: "", stopped: "stopped", failed: "failed" };

/** The whole page. */
export function page(state, actions) {
  return html`
    ${header(state, actions)}
    <main class=${state.isDropping ? "is-dropping" : ""}>
      ${state.needsKey ? keyForm(actions) : nothing}
      ${state.notice ? problem(state.notice) : nothing}
      ${intake(state, actions)}
      ${state.clips.length > 1 ? clipList(state, actions) : nothing}
      ${state.clip ? [clipCard(state, actions), taskCard(state, actions), answerCard(state, actions)] : nothing}
    </main>
  `;
}

function header({ models, model, health }, actions) {
  return html`
    <header>
      <h1><img src="static/icon.svg" alt="" width="32" height="32">Eureka-Audio</h1>
      <p class="server">
        ${models.length > 1
          ? html`<select aria-label="Model" @change=${(event) => actions.set({ model: event.target.value })}>
              ${models.map((name) => html`<option ?selected=${name === model}>${name}</option>`)}
            </select>`
          : html`<span class="model">${model}</span>`}
        <span class="health" data-health=${health}>${HEALTH[health] ?? health}</span>
      </p>
    </header>
  `;
}

function problem({ message, detail }) {
  return html`<div class="problem" role="alert">
    <strong>${message}</strong>${detail ? html`<small>${detail}</small>` : nothing}
  </div>`;
}

function keyForm(actions) {
  const save = (event) => {
    event.preventDefault();
    actions.saveKey(event.target.elements.key.value);
  };
  return html`<form class="card key" @submit=${save}>
    <label for="key">API key of this server</label>
    <input id="key" name="key" type="password" autocomplete="off" required>
    <button class="primary">Use it</button>
  </form>`;
}

function intake({ recorder, clips }, actions) {
  const choose = (event) => {
    actions.choose(event.target.files);
    event.target.value = "";
  };
  return html`<section class="card intake ${clips.length ? "is-small" : ""}" aria-label="Add sound">
    ${clips.length
      ? nothing
      : html`<h2>Give it something to hear</h2>
          <p>Record with the microphone, or drop audio files anywhere on this page. Everything stays
            between this browser and this server.</p>`}
    <div class="row">
      <button class="record" aria-pressed=${recorder !== null} @click=${actions.toggleRecording}>
        <span class="dot"></span>${recorder ? "Stop recording" : "Record"}
      </button>
      <button @click=${(event) => event.currentTarget.nextElementSibling.click()}>Choose files</button>
      <input type="file" hidden multiple accept="audio/*,video/*" @change=${choose}>
      ${recorder
        ? html`<span class="elapsed">${clock((performance.now() - recorder.startedAt) / 1000)}</span>
            <meter aria-label="Loudness" min="0" max="1" .value=${recorder.level()}></meter>`
        : html`<span class="hint">${clips.length ? "or drop more anywhere" : ""}</span>`}
    </div>
  </section>`;
}

function clipList({ clips, clip: current, task }, actions) {
  return html`<nav class="clips" aria-label="Clips"><ul>
    ${clips.map((clip) => {
      const status = STATUS[clip.runs[task]?.status] ?? "";
      const mark = clip.runs[task]?.status === "done" ? "done" : status;
      return html`<li>
        <button aria-current=${clip === current ? "true" : "false"} @click=${() => actions.look(clip)}>
          ${clip.name}${mark ? html`<small>${mark}</small>` : nothing}
        </button>
      </li>`;
    })}
  </ul></nav>`;
}

function clipCard({ clip, task }, actions) {
  const moved = (event) => actions.moved(event.detail);
  return html`<section class="card" aria-label="Sound">
    <div class="title">
      <h2>${clip.name}</h2>
      <button class="quiet" aria-label="Remove ${clip.name}" @click=${() => actions.remove(clip)}>
        Remove
      </button>
    </div>
    ${clip.cannotPlay
      ? html`<p class="hint">This browser cannot play this kind of file. The server may hear it all
          the same.</p>`
      : nothing}
    <audio-timeline @word=${moved}
      .data=${{ clip, words: clip.runs.transcribe?.words, inspection: clip.inspection }}>
    </audio-timeline>
    ${clip.isInspecting ? html`<p class="hint is-working">Looking at what the model hears …</p>` : nothing}
    ${clip.inspectionProblem
      ? html`${problem(clip.inspectionProblem)}
          <button @click=${() => actions.inspect(clip)}>Look again</button>`
      : nothing}
    ${clip.inspection && !clip.inspection.experts
      ? html`<p class="hint">This model has a dense adapter: there are no experts to choose.</p>`
      : nothing}
  </section>`;
}

function taskCard(state, actions) {
  const { task, clip, clips, isBusy, model } = state;
  const submit = (event) => {
    event.preventDefault();
    actions.toggleRun([clip]);
  };
  return html`<form class="card task" @submit=${submit}>
    <fieldset>
      <legend class="visually-hidden">What to do</legend>
      ${Object.entries(TASKS).map(
        ([key, { name }]) => html`<label>
          <input type="radio" name="task" value=${key} .checked=${task === key} ?disabled=${isBusy}
            @change=${() => actions.set({ task: key })}><span>${name}</span>
        </label>`,
      )}
    </fieldset>
    <div class="wish">${wish(state, actions)}</div>
    <div class="row">
      <button class="primary ${isBusy ? "stop" : ""}" ?disabled=${!model}>
        ${isBusy ? "Stop" : TASKS[task].verb}
      </button>
      ${clips.length > 1 && !isBusy
        ? html`<button type="button" ?disabled=${!model} @click=${() => actions.toggleRun(clips)}>
            All ${clips.length} clips
          </button>`
        : nothing}
    </div>
  </form>`;
}

function wish({ task, language, question, wantsTimes }, actions) {
  switch (task) {
    case "transcribe":
      return html`<label for="language">Language</label>
        <input id="language" list="languages" placeholder="found by the model" .value=${language}
          autocomplete="off" @input=${(event) => actions.set({ language: event.target.value })}>
        <datalist id="languages">${LANGUAGES.map((name) => html`<option value=${name}></option>`)}</datalist>
        <label class="check"><input type="checkbox" .checked=${wantsTimes}
          @change=${(event) => actions.set({ wantsTimes: event.target.checked })}>Word times</label>`;
    case "ask":
      return html`<label for="question">Question</label>
        <input id="question" placeholder="What can be heard in the background?" .value=${question}
          autocomplete="off" @input=${(event) => actions.set({ question: event.target.value })}>`;
    default:
      return html`<p class="hint">${TASKS[task].hint}</p>`;
  }
}

function answerCard({ clip, task }, actions) {
  const run = clip.runs[task];
  if (!run) return nothing;
  const isRunning = run.status === "running";
  return html`<section class="card answer-card" aria-label="Answer" aria-busy=${isRunning}>
    ${run.question ? html`<p class="question">${run.question}</p>` : nothing}
    <p class="answer ${isRunning ? "is-running" : ""}">${answer(run, task, actions)}</p>
    ${run.problem ? problem(run.problem) : nothing}
    ${run.status === "stopped" ? html`<p class="hint">Stopped.</p>` : nothing}
    ${run.finishReason === "length"
      ? html`<p class="hint">The answer reached its longest permitted length.</p>`
      : nothing}
    ${run.warnings?.map((warning) => html`<p class="warning">${warned(warning)}</p>`)}
    ${run.hasNoTimes && run.text
      ? html`<p class="hint">No times of words were given for this transcript.</p>`
      : nothing}
    ${run.firstAfter === undefined && run.status !== "done" ? nothing : figures(run, clip)}
    ${run.text && !isRunning
      ? html`<button class="quiet" @click=${() => actions.copy(run.text)}>Copy text</button>`
      : nothing}
  </section>`;
}

/** A warning is a word, or a message about a stretch of the sound. */
function warned(warning) {
  if (typeof warning === "string") return WARNINGS[warning] ?? warning;
  return `${clock(warning.start)} to ${clock(warning.end)}: ${warning.message}`;
}

function answer({ status, text, words }, task, actions) {
  if (words?.length) {
    const seek = (event) => {
      const { word } = event.target.dataset;
      if (word) actions.seek(words[word].start);
    };
    return html`<span @click=${seek}>${words.map(
      ({ word }, index) => html`<span data-word=${index}>${word.trim()}</span> `,
    )}</span>`;
  }
  if (text) return html`<span>${text}</span>`;
  if (status === "done") {
    return html`<em>${task === "transcribe" ? "Nothing was said." : "The answer is empty."}</em>`;
  }
  return status === "running" || status === "waiting" ? html`<em>Listening …</em>` : nothing;
}

function waited(milliseconds) {
  const isLong = milliseconds >= 10_000;
  return isLong ? `${(milliseconds / 1000).toFixed(1)} s` : `${Math.round(milliseconds)} ms`;
}

function figures({ firstAfter, tokensPerSecond, isOneByOne, numTokens, seconds }, { duration }) {
  const entries = [
    ["First token after", firstAfter && waited(firstAfter)],
    [isOneByOne ? "Tokens/s after the first" : "Tokens/s over all", tokensPerSecond?.toFixed(1)],
    ["Tokens", numTokens],
    ["Sound", duration && `${duration.toFixed(1)} s`],
    ["Faster than real time", seconds && duration && `${(duration / seconds).toFixed(1)} ×`],
  ];
  return html`<dl class="figures">
    ${entries
      .filter(([, value]) => value)
      .map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}
