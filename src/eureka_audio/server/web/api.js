// The server's routes, and what can go wrong with them in plain words.

import { createParser } from "./vendor/eventsource-parser.js";

// What a dense caption is asked for with; the same words as in eureka_audio.text.chat.
export const CAPTION_PROMPT = "Describe everything that can be heard.";
const CHAT_FORMATS = ["wav", "mp3"]; // what `input_audio` takes for certain

let key = sessionStorage.getItem("api-key") ?? "";

/** Remember the API key until the tab closes. */
export function setKey(text) {
  key = text.trim();
  sessionStorage.setItem("api-key", key);
}

/** Something went wrong: `message` in plain words, `detail` in the server's. */
export class Problem extends Error {
  constructor(message, { detail = "", status = 0 } = {}) {
    super(message);
    this.detail = detail;
    this.status = status;
  }
}

const BY_CODE = {
  audio_unreadable: "The server cannot read this kind of file. Try WAV, FLAC or MP3.",
  audio_too_short: "There is no sound in this file.",
  audio_too_large: "This recording is too long or too large for this server.",
  audio_invalid: "This file is damaged, or no audio at all.",
  content_too_large: "This file is too large for this server.",
  context_length_exceeded: "This recording is too long to be asked about. Try a shorter one.",
  model_not_found: "The server no longer serves this model. Reload the page.",
  model_unavailable: "The model has failed. Whoever runs the server must restart it.",
  shutting_down: "The server is shutting down.",
};

const BY_STATUS = {
  401: "This server asks for an API key.",
  404: "This server does not offer that.",
  408: "Sending the file took too long.",
  413: "This file is too large for this server.",
  429: "The server is busy.",
  500: "The server failed. Its log says why.",
  503: "The server cannot answer right now.",
};

function problemOf(status, error, retryAfter) {
  let message = BY_CODE[error?.code] ?? BY_STATUS[status] ?? "The server refused this request.";
  if (status === 429 || status === 503) {
    message += retryAfter ? ` Try again in ${retryAfter} s.` : " Try again in a moment.";
  }
  return new Problem(message, { detail: error?.message ?? "", status });
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached. Is it still running?");
  }
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    throw problemOf(response.status, body?.error, response.headers.get("retry-after"));
  }
  return response;
}

/** The names of the models that are served. */
export async function models() {
  const { data } = await (await request("v1/models")).json();
  return data.map((model) => model.id);
}

/** One word on the state of the model: ready, unloaded, loading, draining, dead or unreachable. */
export async function health() {
  try {
    return (await (await fetch("health")).json()).model;
  } catch {
    return "unreachable";
  }
}

function form(clip, fields) {
  const body = new FormData();
  for (const [name, value] of fields) if (value) body.append(name, value);
  body.append("file", clip.blob, clip.name);
  return { method: "POST", body };
}

/** The spectrogram of a clip and the experts that heard it. */
export async function inspect(clip, model, signal) {
  const options = form(clip, [["model", model]]);
  return (await request("v1/inspect", { ...options, signal })).json();
}

/**
 * Yields `{text}` for each piece of a transcript, then `{done}`: what the server says at the end,
 * which are the times of words too if they are wanted and the model can tell them.
 */
export async function* transcribe(clip, { model, language, wantsTimes }, signal) {
  const options = form(clip, [
    ["model", model],
    ["language", language],
    ["stream", "true"],
    ["response_format", wantsTimes && "verbose_json"],
  ]);
  for await (const event of stream("v1/audio/transcriptions", { ...options, signal })) {
    if (event.type === "transcript.text.delta") yield { text: event.delta };
    if (event.type === "transcript.text.done") {
      yield { done: { ...event, numTokens: event.usage?.output_tokens } };
    }
  }
}

/** Yields `{text}` for each piece of the answer to a question about a clip, then `{done}`. */
export async function* ask(clip, { model, question }, signal) {
  const { blob, format } = asInputAudio(clip);
  const messages = [
    {
      role: "user",
      content: [
        { type: "input_audio", input_audio: { data: await base64(blob), format } },
        { type: "text", text: question },
      ],
    },
  ];
  const body = { model, messages, stream: true, stream_options: { include_usage: true } };
  const done = {};
  for await (const event of stream("v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  })) {
    const choice = event.choices?.[0];
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (choice?.finish_reason) done.finish_reason = choice.finish_reason;
    if (event.usage) done.numTokens = event.usage.completion_tokens;
    if (event.warnings) done.warnings = event.warnings;
  }
  yield { done };
}

function asInputAudio(clip) {
  const format = clip.name.split(".").pop().toLowerCase();
  if (CHAT_FORMATS.includes(format) || !clip.wav) return { blob: clip.blob, format };
  return { blob: clip.wav(), format: "wav" };
}

async function base64(blob) {
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Problem("This file cannot be read from your disk any more."));
    reader.readAsDataURL(blob);
  });
  return url.slice(url.indexOf(",") + 1);
}

/** The JSON of each server-sent event; an error among them is thrown. */
async function* stream(path, options) {
  const response = await request(path, options);
  const events = [];
  const parser = createParser({ onEvent: ({ data }) => events.push(data) });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let isComplete = false;
  try {
    while (!isComplete) {
      const { value, done } = await reader.read();
      if (done) break;
      parser.feed(value);
      for (const data of events.splice(0)) {
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw problemOf(event.error.status ?? 0, event.error);
        isComplete = event.type === "transcript.text.done";
        yield event;
      }
    }
  } catch (error) {
    if (error instanceof TypeError) {
      throw new Problem("The connection broke before the answer was complete.");
    }
    throw error;
  } finally {
    reader.cancel().catch(() => {});
  }
  if (!isComplete) throw new Problem("The connection broke before the answer was complete.");
}
