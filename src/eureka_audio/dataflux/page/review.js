const KEYS = [
  ["A", "a", "accept", "Accept"],
  ["R", "r", "reject", "Reject"],
  ["U", "u", "undo", "Undo"],
  ["Space", " ", "play", "Play or pause"],
  ["Enter", "Enter", "next", "Next undecided"],
  ["←", "ArrowLeft", "back", "Before"],
  ["→", "ArrowRight", "forth", "After"],
  ["S", "s", "summary", "The judge so far"],
];
const SAID = { accept: "accepted", reject: "rejected" };
let view = null;
let busy = false;

const progress = make("progress", { max: Math.max(data.total, 1), value: 0, "aria-label": "Items decided" });
const progressText = make("p", { class: "soft small" });
const status = make("p", { role: "status", class: "said" });
const alarm = make("p", { role: "alert", class: "alarm" });
const item = make("article", { "aria-label": "Item" });
const measured = make("section", { class: "notice", hidden: "", tabindex: "-1", "aria-label": "The judge, measured so far" });
const shortcuts = make("input", { type: "checkbox", id: "shortcuts", checked: "" });
const playing = make("input", { type: "checkbox", id: "playing" });
const buttons = new Map(KEYS.map(([shown, key, action, name]) => [action, make("button",
  { type: "button", class: action, "aria-keyshortcuts": key === " " ? "Space" : key }, name, " ", make("kbd", { "aria-hidden": "true" }, shown))]));

const choose = (...names) => make("div", { class: "controls" }, ...names.map((name) => buttons.get(name)));
const moves = make("nav", { "aria-label": "Decide and move" }, choose("accept", "reject", "undo", "play"),
  choose("back", "next", "forth", "summary"));

async function ask(path, body) {
  const request = body === undefined ? {} :
    { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const reply = await fetch(path, { cache: "no-store", ...request });
  if (!reply.ok) throw new Error(reply.status === 404 ? "this address is no longer served" : "the server answered " + reply.status);
  return reply.json();
}

// One thing at a time; what fails is said, and nothing moves on.
async function during(work, failed) {
  if (busy) return;
  busy = true;
  try {
    alarm.textContent = "";
    await work();
  } catch (error) {
    alarm.textContent = failed + ": " + error.message + ". Start eureka-audio dataflux review again and open the address it prints; what was saved is kept.";
  } finally {
    busy = false;
  }
}

function show(next, focus) {
  const moved = view === null || view.place !== next.place;
  view = next;
  progress.value = view.decided;
  progressText.textContent = view.decided + " of " + view.total + " decided" +
    (view.next_open === null && view.decided === view.total ? ": all done" : "");
  if (moved) draw();
  decided();
  const heading = item.querySelector(focus === "found" ? ".found h2" : "h2");
  if (heading) heading.focus({ preventScroll: focus !== "found" });
  if (moved) window.scrollTo(0, 0);
}

// The parts of an item that a person judges.
function draw() {
  const { list, add } = facts();
  add("Kind of question", view.item.leaf.replaceAll("/", " › ").replaceAll("_", " "));
  question(add, view.item);
  const audio = player("audio?place=" + view.place, "Clip, " + view.item.seconds.toFixed(1) + " seconds");
  audio.preload = "auto";
  audio.addEventListener("error", () => { alarm.textContent = "The clip cannot be played: it is gone, or of a form this browser does not know."; });
  item.replaceChildren(make("h2", { tabindex: "-1" }, "Item " + (view.place + 1) + " of " + view.total), audio, list,
    make("p", { class: "decision" }), moves, make("section", { class: "found" }));
  if (playing.checked) audio.play().catch(() => {});
}

// What was decided, and what may be seen by now.
function decided() {
  const said = item.querySelector(".decision");
  said.className = "decision " + (view.decision || "");
  said.textContent = view.decision ? "You " + SAID[view.decision] + " it." : "";
  for (const choice of ["accept", "reject"]) buttons.get(choice).setAttribute("aria-pressed", String(view.decision === choice));
  const box = item.querySelector(".found");
  box.replaceChildren();
  if (view.found === null) {
    box.append(make("p", { class: "soft small" }, "The caption, the models’ answers and the judge’s verdict show once you have decided."));
    return;
  }
  const { list, add } = facts();
  const shown = { ...view.item, ...view.found };
  outcome(add, shown);
  evidence(add, shown);
  box.append(make("h2", { tabindex: "-1" }, "What DataFlux made of it"), list);
}

function judged() {
  if (view.found === null || !view.found.verdict) return "";
  return view.found.fate === "kept" ? " DataFlux kept it." : " DataFlux did not keep it: " + view.found.reason + ".";
}

const go = (place) => during(async () => { show(await ask("item?place=" + place)); status.textContent = ""; }, "Not loaded");

const decide = (decision) => during(async () => {
  show(await ask("decide", { item: view.item.id, decision }), "found");
  const done = view.next_open === null ? " All items are decided." : "";
  status.textContent = "Saved: " + SAID[decision] + "." + judged() + done;
  if (done) await measure();
  else if (!data.blind) show(await ask("item?place=" + view.next_open));
}, "Not saved");

const actions = {
  accept: () => decide("accept"),
  reject: () => decide("reject"),
  undo: () => during(async () => {
    const undone = await ask("undo", {});
    if (undone !== null) show(undone);
    status.textContent = undone === null ? "There is nothing to undo." : "Undone: item " + (undone.place + 1) + " is undecided again.";
  }, "Not undone"),
  play: () => {
    const audio = item.querySelector("audio");
    if (audio.paused) audio.play().catch(() => {});
    else audio.pause();
  },
  next: () => (view.next_open === null ? undefined : go(view.next_open)),
  back: () => go((view.place + view.total - 1) % view.total),
  forth: () => go((view.place + 1) % view.total),
  summary: () => (measured.hidden ? during(measure, "Not measured") : void (measured.hidden = true)),
};

function range({ value, low, high }) {
  if (value === null) return "unknown until each group has a decision";
  return percent(value) + intervalText(low === null ? null : { low, high });
}

async function measure() {
  const found = await ask("summary");
  const rows = found.groups.map((row) => [row.name, String(row.accepted), String(row.decided), String(row.items)]);
  measured.replaceChildren(make("h2", {}, "The judge, measured so far"),
    make("p", {}, found.decided + " decided: " + found.accepted + " accepted, " + found.rejected + " rejected; " +
      found.blind + " before the verdict was seen."),
    table(["", "Precision", "Recall"], [
      ["Judge", range(found.judge.precision), range(found.judge.recall)],
      ["DataFlux as a whole", range(found.dataflux.precision), range(found.dataflux.recall)],
    ], [], null),
    table(["Group", "Accepted", "Decided", "Items in the run"], rows, [1, 2, 3], null),
    make("p", { class: "soft small" }, "Precision: of the items held to be good, the share that you accept. Recall: of the items that you accept, " +
      "the share that is held to be good. In brackets, the range in which the figure lies, 95 times out of 100 or more."));
  measured.hidden = false;
  measured.focus();
}

function pressed(event) {
  const known = KEYS.find(([, key]) => key === (event.key.length === 1 ? event.key.toLowerCase() : event.key));
  if (!known || !shortcuts.checked || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const [, key, action] = known;
  // Keys that a focused control understands itself are its own.
  if (key.length > 1 || key === " ") {
    if (event.target.closest("button, input, audio, summary")) return;
  }
  event.preventDefault();
  actions[action]();
}

page.replaceChildren(make("h1", {}, "Review"));
if (!data.total) {
  page.append(make("p", {}, "There is nothing to review yet: no item of this run has reached the judge."));
} else {
  for (const [action, button] of buttons) button.addEventListener("click", () => actions[action]());
  page.append(
    make("p", {}, "Listen, read, decide. Accept an item if the clip makes the marked choice right and no other; else reject it. Each decision is saved at once."),
    progress, progressText, alarm, status, item, measured,
    make("section", { "aria-label": "Settings" },
      make("p", {}, make("label", {}, shortcuts, " Keys: a letter on a button is its key"), make("br", {}),
        make("label", {}, playing, " Play each clip as it comes up"))),
  );
  document.addEventListener("keydown", pressed);
  go(data.start);
}
