// <audio-timeline>: a clip to play and to look at, every lane on one axis of time.

import { clock, encodeWav, gate } from "./audio.js";
import * as drawing from "./drawing.js";
import { html, nothing, render } from "./vendor/lit-html.js";

const SHORTEST_VIEW = 1; // second
const dark = matchMedia("(prefers-color-scheme: dark)");

class AudioTimeline extends HTMLElement {
  #data = {};
  #view = { from: 0, to: 1 };
  #solo = null; // the expert that is heard alone
  #hover = null; // seconds under the pointer
  #picture = null;
  #audio = new Audio();
  #gated = null; // the URL of the sound of one expert
  #resized = new ResizeObserver(() => this.#draw());

  constructor() {
    super();
    for (const kind of ["play", "pause", "ended"]) {
      this.#audio.addEventListener(kind, () => {
        this.#render();
        this.#tick();
      });
    }
    this.#audio.addEventListener("seeked", () => this.#moved());
  }

  connectedCallback() {
    dark.addEventListener("change", this.#themed);
    this.#render();
  }

  disconnectedCallback() {
    dark.removeEventListener("change", this.#themed);
    this.#audio.pause();
    this.#resized.disconnect();
  }

  /** The clip, the words with their times, and the inspection; drawn anew where one has changed. */
  set data({ clip, words, inspection }) {
    const before = this.#data;
    const { samples, duration, url } = clip;
    this.#data = { clip, words, inspection, samples, duration: duration ?? inspection?.duration };
    if (clip !== before.clip) {
      this.#solo = this.#hover = null;
      this.#forget();
      this.#load(url, false);
    }
    if (inspection !== before.inspection) this.#paint();
    if (clip !== before.clip || this.#data.duration !== before.duration) {
      this.#view = { from: 0, to: this.#data.duration || 1 };
    }
    const names = ["clip", "words", "inspection", "samples", "duration"];
    if (this.isConnected && names.some((name) => this.#data[name] !== before[name])) {
      this.#render();
    }
  }

  get seconds() {
    return this.#audio.currentTime;
  }

  /** Go to a moment. */
  seek(seconds) {
    this.#audio.currentTime = Math.max(0, Math.min(seconds, this.#data.duration ?? 0));
    this.#moved();
  }

  #themed = () => {
    this.#paint();
    this.#render();
  };

  #paint() {
    const logMel = this.#data.inspection?.log_mel;
    this.#picture = logMel ? drawing.spectrogramPicture(logMel, dark.matches) : null;
  }

  /** Play from elsewhere; of the same clip, from the same moment. */
  #load(url, isSameClip) {
    const { currentTime, paused } = this.#audio;
    this.#audio.src = url;
    if (!isSameClip) return;
    this.#audio.currentTime = currentTime;
    if (!paused) this.#audio.play();
  }

  #toggle = () => {
    if (this.#audio.paused) this.#audio.play().catch(() => this.#render());
    else this.#audio.pause();
  };

  #tick = () => {
    this.#moved();
    if (!this.#audio.paused) requestAnimationFrame(this.#tick);
  };

  /** The playhead is elsewhere. */
  #moved() {
    const { from, to } = this.#view;
    const seconds = this.seconds;
    if (seconds < from || seconds > to) {
      this.#look(seconds - (to - from) / 10, to - from);
      this.#draw();
    }
    const range = this.querySelector("[type=range]");
    if (!range) return;
    range.value = seconds;
    range.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(this.#data.duration ?? 0)}`);
    this.querySelector(".now").textContent = clock(seconds);
    this.#drawPlayhead();
  }

  /** Give back the sound of one expert. */
  #forget() {
    if (this.#gated) URL.revokeObjectURL(this.#gated);
    this.#gated = null;
  }

  #hearAlone(expert) {
    const { clip, inspection, samples } = this.#data;
    this.#solo = this.#solo === expert ? null : expert;
    this.#forget();
    if (this.#solo !== null && samples) {
      const { ids, token_seconds } = inspection.experts;
      const isOpen = (seconds) => ids[Math.floor(seconds / token_seconds)]?.includes(expert);
      this.#gated = URL.createObjectURL(encodeWav(gate(samples, isOpen)));
    }
    this.#load(this.#gated ?? clip.url, true);
    this.#render();
  }

  #look(from, span) {
    const { duration = 1 } = this.#data;
    span = Math.min(Math.max(span, Math.min(SHORTEST_VIEW, duration)), duration);
    from = Math.max(0, Math.min(from, duration - span));
    this.#view = { from, to: from + span };
  }

  #zoom(factor) {
    const { from, to } = this.#view;
    const centre = this.seconds >= from && this.seconds <= to ? this.seconds : (from + to) / 2;
    this.#look(centre - (centre - from) * factor, (to - from) * factor);
    this.#render();
  }

  #wheel = (event) => {
    const { from, to } = this.#view;
    const isZoomed = to - from < (this.#data.duration ?? 0);
    const delta = event.shiftKey ? event.deltaY : event.deltaX;
    if (!isZoomed || !delta) return;
    event.preventDefault();
    this.#look(from + (delta / this.#width) * (to - from), to - from);
    this.#draw();
  };

  #point = (event) => {
    const { from, to } = this.#view;
    const box = event.currentTarget.getBoundingClientRect();
    const place = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    this.#hover = from + place * (to - from);
    if (event.type === "pointerdown") event.currentTarget.setPointerCapture(event.pointerId);
    if (event.buttons & 1) this.seek(this.#hover);
    this.#drawPlayhead();
  };

  #leave = () => {
    this.#hover = null;
    this.#drawPlayhead();
  };

  get #width() {
    return this.querySelector(".plot")?.clientWidth ?? 0;
  }

  #render() {
    const { clip, duration, inspection } = this.#data;
    if (!clip) return;
    const lanes = drawing.layout(this.#data);
    const isPlaying = !this.#audio.paused;
    const isWhole = this.#view.to - this.#view.from >= (duration ?? 0);
    render(
      html`
        <div class="transport">
          <button class="play" ?disabled=${!duration} aria-label=${isPlaying ? "Pause" : "Play"}
            @click=${this.#toggle}>${isPlaying ? pauseIcon : playIcon}</button>
          <span class="clock"><span class="now"></span> / ${clock(duration ?? 0)}</span>
          <input type="range" aria-label="Position" min="0" max=${duration ?? 0} step="0.1"
            @input=${(event) => this.seek(Number(event.target.value))}>
          <span class="zoom">
            <button aria-label="Zoom in" @click=${() => this.#zoom(0.5)}>+</button>
            <button aria-label="Zoom out" ?disabled=${isWhole} @click=${() => this.#zoom(2)}>−</button>
          </span>
        </div>
        <div class="lanes">
          <div class="gutter" aria-hidden="true">
            ${lanes.map(
              ({ name, top, height }) =>
                html`<span .style=${`top: ${top}px; height: ${height}px`}>${name}</span>`,
            )}
            ${inspection?.experts ? rowNumbers(lanes.at(-1), inspection.experts.num_experts) : nothing}
          </div>
          <div class="plot" .style=${`height: ${end(lanes)}px`} @wheel=${this.#wheel}
            @pointerdown=${this.#point} @pointermove=${this.#point} @pointerleave=${this.#leave}>
            <canvas class="base" role="img" aria-label=${described(lanes, duration)}></canvas>
            <canvas class="head" aria-hidden="true"></canvas>
          </div>
        </div>
        <p class="readout"></p>
        ${inspection?.experts ? this.#legend(inspection.experts) : nothing}
      `,
      this,
    );
    this.#resized.observe(this.querySelector(".plot"));
    this.#draw();
    this.#moved();
  }

  #legend(experts) {
    const shares = expertShares(experts);
    return html`
      <div class="experts" role="group" aria-label="Experts: hear what one of them heard">
        ${shares.map((share, expert) => {
          const isSolo = this.#solo === expert;
          return html`<button aria-pressed=${isSolo}
            aria-label="Expert ${expert + 1} heard ${percent(share)}; play only that"
            .style=${`--expert: ${drawing.expertColour(expert, shares.length, dark.matches)}`}
            @click=${() => this.#hearAlone(expert)}>
            <span class="dot"></span>${expert + 1}<small>${percent(share)}</small>
          </button>`;
        })}
      </div>
      <p class="hint">Each ${Math.round(experts.token_seconds * 1000)} ms of sound goes to
        ${experts.num_experts_per_tok} of ${experts.num_experts} experts. Choose one to hear and see
        only what it heard.</p>
    `;
  }

  #draw() {
    const { clip, words, inspection, samples } = this.#data;
    const lanes = drawing.layout(this.#data);
    const context = sized(this.querySelector("canvas.base"), this.#width, end(lanes));
    if (!context) return;
    const style = getComputedStyle(this);
    const colour = (name) => style.getPropertyValue(`--${name}`);
    const scale = drawing.scale(this.#view, this.#width);
    const experts = inspection?.experts;
    const isAlone = this.#solo !== null && experts;
    for (const lane of lanes) {
      if (lane.name === "Words") {
        const colours = { fill: colour("word"), ink: colour("ink") };
        words.forEach((_, index) => drawing.drawWord(context, lane, scale, words, index, colours));
      } else if (lane.name === "Wave") {
        drawing.drawWave(context, lane, scale, samples, clip.peak, colour("wave"));
      } else if (lane.name === "Log-mel") {
        const seconds = inspection.log_mel.column_seconds;
        drawing.drawPicture(context, lane, scale, this.#picture, seconds);
      } else {
        const colours = { isDark: dark.matches, solo: this.#solo, empty: colour("empty") };
        drawing.drawExperts(context, lane, scale, experts, colours);
      }
      if (isAlone && (lane.name === "Wave" || lane.name === "Log-mel")) {
        drawing.drawVeil(context, lane, scale, experts, this.#solo, colour("card"));
      }
    }
    this.#drawPlayhead();
  }

  #drawPlayhead() {
    const { words, inspection } = this.#data;
    const lanes = drawing.layout(this.#data);
    const context = sized(this.querySelector("canvas.head"), this.#width, end(lanes));
    if (!context) return;
    const style = getComputedStyle(this);
    const scale = drawing.scale(this.#view, this.#width);
    const current = drawing.wordAt(words, this.seconds);
    this.dispatchEvent(new CustomEvent("word", { detail: current }));
    if (current >= 0) {
      const colours = {
        fill: style.getPropertyValue("--accent"), ink: style.getPropertyValue("--on-accent"),
      };
      drawing.drawWord(context, lanes[0], scale, words, current, colours);
    }
    const line = (seconds, name) => {
      context.fillStyle = style.getPropertyValue(name);
      context.fillRect(scale.x(seconds) - 0.75, 0, 1.5, end(lanes));
    };
    if (this.#hover !== null) line(this.#hover, "--soft");
    line(this.seconds, "--accent");
    const moment = this.#hover ?? this.seconds;
    this.querySelector(".readout").textContent = readout(moment, words, inspection?.experts);
  }
}

/** The numbers of the experts, where their rows are high enough. */
function rowNumbers({ top }, count) {
  const height = drawing.rowHeight(count);
  if (height < 11) return nothing;
  return Array.from(
    { length: count },
    (_, expert) =>
      html`<span class="row-number" .style=${`top: ${top + expert * height}px; height: ${height}px`}
        >${expert + 1}</span>`,
  );
}

function end(lanes) {
  const last = lanes.at(-1);
  return last ? last.top + last.height : 0;
}

/** A cleared canvas of the right size, in CSS pixels. */
function sized(canvas, width, height) {
  if (!canvas || !width || !height) return null;
  const ratio = devicePixelRatio;
  const pixels = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) {
    [canvas.width, canvas.height] = pixels;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** What happens at a moment, in words. */
function readout(seconds, words, experts) {
  const parts = [clock(seconds)];
  const index = drawing.wordAt(words, seconds);
  if (index >= 0) parts.push(`“${words[index].word}”`);
  const token = experts ? Math.floor(seconds / experts.token_seconds) : -1;
  const ids = experts?.ids[token];
  if (ids) {
    const heard = ids.map((id, k) => `${id + 1} (${percent(experts.weights[token][k])})`);
    parts.push(`experts ${heard.join(", ")}`);
  }
  return parts.join("  ·  ");
}

/** Of all choices, the share that fell on each expert. */
function expertShares({ ids, num_experts }) {
  const counts = new Array(num_experts).fill(0);
  ids.forEach((chosen) => chosen.forEach((expert) => counts[expert]++));
  return counts.map((count) => count / (ids.length || 1));
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}

function described(lanes, duration) {
  const names = lanes.map(({ name }) => name.toLowerCase()).join(", ");
  return `${names} over ${clock(duration ?? 0)}`;
}

const playIcon = html`<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M8 5v14l11-7z" /></svg>`;
const pauseIcon = html`<svg viewBox="0 0 24 24" aria-hidden="true">
  <path d="M7 5h4v14H7zM13 5h4v14h-4z" /></svg>`;

customElements.define("audio-timeline", AudioTimeline);
