"use strict";
// All text goes through textContent: what a model wrote is never markup.
const data = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");
const PAGE_SIZE = 20;

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function shape(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function percent(value) {
  return value === null || value === undefined ? "undefined" : (100 * value).toFixed(1) + " %";
}

// One bar from 0 to 100 %, with a whisker over the interval in which the true score likely lies.
// A tick marks what guessing would give, where there is something to guess among.
function bar(value, interval, label, chance) {
  const svg = shape("svg", { viewBox: "0 0 100 20", preserveAspectRatio: "none", role: "img" });
  svg.setAttribute("aria-label", label);
  const clip = (share) => Math.max(0, Math.min(100, 100 * share));
  svg.append(shape("rect", { class: "track", x: 0, y: 4, width: 100, height: 12 }));
  svg.append(shape("rect", { class: "fill", x: 0, y: 4, width: clip(value || 0), height: 12 }));
  if (interval) {
    const line = { y1: 10, y2: 10, class: "whisker", "vector-effect": "non-scaling-stroke" };
    svg.append(shape("line", { x1: clip(interval.low), x2: clip(interval.high), ...line }));
  }
  if (chance) {
    const at = { x1: clip(chance), x2: clip(chance), y1: 1, y2: 19 };
    svg.append(shape("line", { ...at, class: "chance", "vector-effect": "non-scaling-stroke" }));
  }
  return svg;
}

function scoreRow(name, value, interval, figure, { chance = null, example = "" } = {}) {
  const said = example ? make("div", { class: "soft small" }, "“" + example + "”") : null;
  return make("div", { class: "row" }, make("div", {}, name, said), bar(value, interval, name + " " + figure, chance),
    make("div", { class: "figure" }, figure));
}

function intervalText(interval) {
  if (!interval) return "";
  return " (" + (100 * interval.low).toFixed(1) + " to " + (100 * interval.high).toFixed(1) + ")";
}

// A list to browse: menus that filter by a field, a search over words, so many at a time.
// Each menu is { label, field, options: [[value, text], ...] }, the first of which lets all pass.
function browser(items, { menus, words, placeholder, card }) {
  const box = make("section", {});
  const selects = menus.map(({ label, options }) => make("select", { "aria-label": label },
    ...options.map(([value, text]) => make("option", { value }, text))));
  const search = make("input", { type: "search", placeholder, "aria-label": placeholder });
  const list = make("div", {});
  const count = make("p", { class: "soft", role: "status" });
  const more = make("button", { type: "button" }, "Show more");
  let found = [];
  let shown = 0;
  function showMore() {
    for (const item of found.slice(shown, shown + PAGE_SIZE)) list.append(card(item));
    shown = Math.min(shown + PAGE_SIZE, found.length);
    count.textContent = found.length + " of " + items.length + " items match; " + shown + " shown.";
    more.hidden = shown >= found.length;
  }
  function refresh() {
    const sought = search.value.toLowerCase();
    found = items.filter((item) => menus.every(({ field }, number) =>
      !selects[number].value || item[field] === selects[number].value) &&
      (!sought || words(item).join(" ").toLowerCase().includes(sought)));
    list.replaceChildren();
    shown = 0;
    showMore();
  }
  for (const select of selects) select.addEventListener("change", refresh);
  search.addEventListener("input", refresh);
  more.addEventListener("click", showMore);
  box.append(make("div", { class: "controls" }, ...selects, search), count, list, more);
  refresh();
  return box;
}

// The values of a field as options of a menu, in the order in which they come.
function optionsOf(items, field, all) {
  return [["", all], ...new Map(items.map((item) => [item[field], item[field]]))];
}

function player(source, label) {
  const node = make("audio", { controls: "", preload: "none", "aria-label": label });
  node.src = source;
  return node;
}

// Names and values, one under the other; `add` takes a name and any number of values.
function facts() {
  const list = make("dl", {});
  const add = (name, ...value) => list.append(make("dt", {}, name), make("dd", {}, ...value));
  return { list, add };
}

// A table from its head and rows of texts or nodes; `numeric` says which columns hold numbers.
function table(head, rows, numeric, caption) {
  const kind = (index) => (numeric.includes(index) ? { class: "number" } : {});
  return make("div", { class: "scroll" }, make("table", {},
    caption ? make("caption", {}, caption) : null,
    make("thead", {}, make("tr", {}, ...head.map((text, index) => make("th", { scope: "col", ...kind(index) }, text)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, index) => make("td", kind(index), cell)))))));
}
