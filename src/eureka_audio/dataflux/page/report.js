const { figures, titles, explained } = data;
const FATES = ["kept", "hard", "discarded", "failed"];
const KINDS = { with_audio: "its own audio", other_audio: "another clip", no_audio: "no audio" };
const unknown = "unknown";

function count(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString("en");
}

function section(name, ...children) {
  page.append(make("section", { "aria-labelledby": name }, make("h2", { id: name }, titles[name]),
    make("p", { class: "soft" }, explained[name]), ...children));
}

// One bar in four parts; the parts are told in words beside it or in the row of its table.
function fatesBar(row) {
  const total = FATES.reduce((sum, fate) => sum + row[fate], 0);
  const label = FATES.map((fate) => row[fate] + " " + fate).join(", ");
  const svg = shape("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", role: "img", "aria-label": label, class: "fates" });
  let x = 0;
  for (const fate of FATES) {
    const width = total ? 100 * row[fate] / total : 0;
    svg.append(shape("rect", { class: fate, x, y: 0, width, height: 12 }));
    x += width;
  }
  return svg;
}

function legend() {
  return make("p", { class: "small legend" }, ...FATES.map((fate) =>
    make("span", {}, make("span", { class: "swatch " + fate }), fate)));
}

function totals() {
  const { totals: all } = figures;
  const tiles = [["items", all.items], ...FATES.map((fate) => [fate, all[fate]]), ["clips tried", all.clips_tried]];
  return [make("dl", { class: "tiles" }, ...tiles.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, count(value))))), fatesBar(all), legend()];
}

function leaves() {
  const head = ["Leaf", "Outcome", "Clips tried", "Questions", "Kept", "Hard", "Discarded", "Failed", "Short", "Yield"];
  const cells = (row, name) => [name, fatesBar(row), count(row.clips_tried), count(row.questions),
    ...FATES.map((fate) => count(row[fate])), count(row.short), row.yield === null ? "–" : percent(row.yield)];
  const rows = figures.leaves.map((row) => cells(row, row.leaf.replaceAll("/", " › ").replaceAll("_", " ")));
  return table(head, [...rows, cells(figures.totals, "all")], [2, 3, 4, 5, 6, 7, 8, 9], null);
}

function reasons() {
  if (!figures.reasons.length) return make("p", {}, "Every item was kept.");
  const box = make("div", {});
  for (const row of figures.reasons) {
    box.append(scoreRow(row.meaning, row.share, null, row.count + " " + row.fate + ", " + percent(row.share)));
  }
  return box;
}

function agreement() {
  const { names, cells, chance } = figures.agreement;
  if (!names.length) return make("p", {}, "Nothing was answered.");
  const cell = (found) => {
    if (found === null) return make("span", { class: "soft", "aria-label": "the same one" }, "·");
    if (found.share === null) return make("span", { class: "soft" }, "none of both");
    const node = make("span", { class: "shade" }, percent(found.share), make("br", {}),
      make("span", { class: "small" }, found.same + " of " + found.of));
    node.style.setProperty("--share", (70 * found.share).toFixed(1) + "%");
    return node;
  };
  const box = make("div", { class: "matrix" }, table(["", ...names],
    cells.map((row, index) => [make("strong", {}, names[index]), ...row.map(cell)]), [], null));
  if (chance !== null) box.append(make("p", { class: "soft small" }, "Two that guess would agree on " + percent(chance) + "."));
  return box;
}

function hearing() {
  const box = make("div", {});
  for (const [among, title] of [["all", "All questions that were answered"], ["kept", "Kept items only"]]) {
    const rows = figures.hearing.filter((row) => row.among === among);
    if (!rows.length) continue;
    box.append(make("h3", {}, title));
    for (const model of new Set(rows.map((row) => row.model))) {
      const mine = rows.filter((row) => row.model === model);
      box.append(make("h4", {}, model));
      for (const row of mine) {
        box.append(scoreRow(KINDS[row.kind], row.share, row.interval,
          percent(row.share) + intervalText(row.interval), { chance: row.chance }));
      }
      box.append(make("p", { class: "soft small" }, "Over " + count(mine[0].questions) + (mine[0].questions === 1 ? " question; " : " questions; ") +
        mine.map((row) => row.right + " of " + row.tries + " tries right with " + KINDS[row.kind]).join(", ") +
        ". The upright mark is chance, " + percent(mine[0].chance) + "."));
    }
  }
  return box.children.length ? box : make("p", {}, "Nothing was answered.");
}

function positions() {
  const rows = figures.positions;
  if (!rows.length) return make("p", {}, "No question was written.");
  const most = Math.max(...rows.map((row) => row.places.length));
  const places = rows.find((row) => row.places.length === most).places.map(({ place }) => place);
  const cell = (found) => found ? make("span", {}, count(found.count), make("span", { class: "soft small" }, " / " + found.even.toFixed(1))) : "–";
  return table(["", ...places.map((place) => place + " / even"), "Questions", "p"],
    rows.map((row) => [row.name, ...places.map((_, index) => cell(row.places[index])), count(row.number),
      row.p === null ? "–" : row.p.toFixed(3)]), [...places.keys()].map((index) => index + 1).concat([most + 1, most + 2]), null);
}

function order() {
  if (!figures.order.length) return make("p", {}, "The models never disagreed, or the judge named no winner.");
  return table(["Shown as", "Wins", "Even"], figures.order.map((row) => [row.place, count(row.wins), row.even.toFixed(1)]), [1, 2], null);
}

function cost() {
  const { rows, total, seconds, cost_per_kept: each } = figures.cost;
  const amount = (row, name) => {
    if (row[name] === null) return make("span", { class: "soft" }, unknown);
    const shown = name === "cost" ? row[name].toFixed(4) : count(row[name]);
    return row.unknown[name] ? "at least " + shown : shown;
  };
  const cells = (row) => [row.step, row.model, count(row.calls), count(row.refused), amount(row, "prompt_tokens"),
    amount(row, "new_tokens"), amount(row, "reasoning_tokens"), amount(row, "cost"), row.seconds.toFixed(1)];
  return [table(["Step", "Model", "Calls", "Refused", "Prompt tokens", "New tokens", "Reasoning tokens", "Cost", "Seconds"],
    [...rows, total].map(cells), [2, 3, 4, 5, 6, 7, 8], null),
    make("p", {}, "Time of the run: " + (seconds === null ? unknown : seconds.toFixed(1) + " seconds") +
      ". Cost of a kept item: " + (each === null ? unknown : each.toFixed(4)) + ".")];
}

function sampleCard(item) {
  const state = { kept: "good", hard: "none", discarded: "bad", failed: "bad" }[item.fate];
  const box = make("article", { class: "item " + state });
  box.append(make("div", { class: "soft small" }, item.leaf.replaceAll("/", " › ") + " · " + item.clip + " · " + item.seconds.toFixed(1) + " s"));
  box.append(item.audio === null ? make("p", { class: "soft" }, "The recording is no longer where it was.")
    : player(data.clips[item.audio], "Clip " + item.clip));
  const { list, add } = facts();
  outcome(add, item);
  if (item.query) question(add, item);
  evidence(add, item);
  box.append(list);
  return box;
}

page.replaceChildren(make("h1", {}, "DataFlux: " + data.run), make("p", {}, data.lead));
section("totals", ...totals());
section("leaves", legend(), leaves());
section("reasons", reasons());
section("agreement", agreement());
section("hearing", hearing());
section("positions", positions());
section("order", order());
section("cost", ...cost());
section("samples", data.notice ? make("p", { class: "notice" }, data.notice) : "", browser(data.samples, {
  menus: [
    { label: "Outcome", field: "outcome", options: optionsOf(data.samples, "outcome", "All outcomes") },
    { label: "Leaf", field: "leaf", options: optionsOf(data.samples, "leaf", "All leaves") },
  ],
  words: (item) => [item.query, item.caption, item.clip, item.leaf, ...(item.choices || [])],
  placeholder: "Search questions, captions, clips",
  card: sampleCard,
}));
