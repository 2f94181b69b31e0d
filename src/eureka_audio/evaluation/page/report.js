// Where items without a reply can be counted as wrong, that is the score to quote.
function quoted(rule) {
  return rule.modes ? rule.modes.strict : rule;
}

function overview(run) {
  const box = make("section", {});
  for (const direction of ["higher", "lower"]) {
    const parts = run.parts.filter((part) => part.better === direction);
    if (!parts.length) continue;
    box.append(make("h3", {}, direction === "higher" ? "Higher is better" : "Lower is better"));
    for (const part of parts) {
      const score = part.rules[0];
      const { value, interval } = quoted(score);
      box.append(scoreRow(part.title, value, interval, percent(value) + intervalText(interval), { chance: score.chance }));
      box.append(make("p", { class: "soft small" }, part.explanation + " " + score.items + " items, rule “" +
        score.rule + "”." + (score.chosen ? " For " + score.chosen + " of them the reply is the option the model finds most probable, not its own words." : "") +
        (score.chance ? " Guessing would give " + percent(score.chance) + "." : "") + (part.failures ? " " + part.failures + " items got no reply." : "")));
    }
  }
  return box;
}

function breakdown(part) {
  const score = part.rules[0];
  const box = make("section", {}, make("h3", {}, part.title));
  if (part.rules.length > 1 || score.modes) {
    const table = make("table", {}, make("tr", {}, make("th", {}, "Scoring rule"),
      make("th", { class: "number" }, "Score"), make("th", {}, "95 % interval"), make("th", { class: "number" }, "Items"),
      make("th", {}, "Left out")));
    const line = (name, value, interval, items, out) => make("tr", {}, make("td", {}, name),
      make("td", { class: "number" }, percent(value)), make("td", {}, intervalText(interval).trim()),
      make("td", { class: "number" }, String(items)), make("td", {}, out));
    for (const rule of part.rules) {
      if (rule.modes) {
        table.append(line(rule.rule + ", every item counts", rule.modes.strict.value, rule.modes.strict.interval,
          rule.modes.strict.items, "none"));
        if (rule.dropped) {
          table.append(line(rule.rule + ", as in the paper: only items with a reply", rule.modes.paper.value,
            rule.interval, rule.modes.paper.items, rule.modes.paper.dropped.join(", ")));
        }
      } else {
        table.append(line(rule.rule, rule.value, rule.interval, rule.items, rule.dropped ? rule.dropped + " items" : "none"));
      }
    }
    box.append(make("div", { class: "scroll" }, table));
  }
  const list = make("dl", { class: "soft small meanings" });
  for (const rule of part.rules) list.append(make("dt", {}, rule.rule), make("dd", {}, rule.meaning));
  box.append(list);
  for (const group of score.groups) {
    box.append(make("p", { class: "soft" }, "By " + group.name));
    for (const member of group.members) {
      box.append(scoreRow(member.name, member.value, null, percent(member.value) + " of " + member.size + " " + part.unit,
        { example: member.example }));
    }
  }
  for (const note of score.notes) box.append(make("p", { class: "soft small" }, "Note: " + note + "."));
  return box;
}

function card(item) {
  const box = make("article", { class: "item " + item.state });
  box.append(make("div", { class: "soft small" }, item.part + " · " + item.uid));
  if (item.audio !== null) {
    box.append(player(data.clips[item.audio], "Clip of " + item.uid));
  }
  const { list, add: fact } = facts();
  if (item.question) fact("Asked", item.question);
  if (item.choices) {
    fact("Options", ...item.choices.map((choice) =>
      make("span", { class: choice === item.answer ? "choice right" : "choice" },
        choice + (item.scores && choice in item.scores ? " " + percent(item.scores[choice]) : ""))));
  }
  if (item.answer !== null) fact("True answer", item.answer);
  fact("Reply", item.reply === null ? "none: " + item.error : item.reply || "(empty)");
  for (const verdict of item.verdicts) {
    const kind = verdict.ok === null ? "" : verdict.ok ? " good" : " bad";
    fact("Rule " + verdict.rule, make("span", { class: "verdict" + kind }, verdict.text));
  }
  box.append(list);
  return box;
}

function paperTable(table) {
  const head = make("tr", {}, make("th", {}, "Model"), make("th", {}, "Size"),
    ...table.columns.map((column) => make("th", { class: "number" }, column.title)));
  const cells = (row) => table.columns.map((column) => make("td", { class: "number" },
    row.values[column.benchmark] === undefined ? "–" : row.values[column.benchmark].toFixed(2)));
  const body = make("table", {}, head);
  for (const row of table.rows) {
    body.append(make("tr", row.ours ? { class: "ours" } : {}, make("td", {}, row.model), make("td", {}, row.size), ...cells(row)));
  }
  return make("section", {}, make("h3", {}, "Table " + table.number + ". " + table.title +
    (table.lower_is_better ? " (lower is better)" : " (higher is better)")), make("div", { class: "scroll" }, body));
}

page.replaceChildren();
page.append(make("h1", {}, data.title), make("p", { class: "soft" }, data.lead));
for (const run of data.runs) {
  page.append(make("h2", {}, data.runs.length > 1 ? run.model + " on " + run.benchmark : "Scores at a glance"));
  page.append(make("p", { class: "soft small" }, "The bar is the score, from 0 to 100 %. The dark line on it is the range in " +
    "which the score would lie, 95 times out of 100, had other clips of the same kind been drawn. " +
    (run.parts.some((part) => part.rules[0].chance) ? "The upright mark is what guessing would give." : "")));
  page.append(make("p", { class: "soft small" }, run.asked));
  page.append(overview(run));
  page.append(make("h2", {}, "In detail"));
  for (const part of run.parts) page.append(breakdown(part));
  page.append(make("h2", {}, "Every item"), make("p", { class: "soft" },
    "Listen to a clip, see what was asked, what the model replied and what each scoring rule makes of it."));
  if (run.notice) page.append(make("p", { class: "notice" }, run.notice));
  page.append(browser(run.items, {
    menus: [
      { label: "Benchmark", field: "part", options: optionsOf(run.items, "part", "All benchmarks") },
      { label: "Verdict", field: "state", options: [["", "All verdicts"], ["bad", "Not right"], ["good", "Right"], ["none", "No reply"]] },
    ],
    words: (item) => [item.uid, item.question, item.reply, item.answer],
    placeholder: "Search questions, replies, names",
    card,
  }));
}
page.append(make("h2", {}, "Beside the published models"), make("p", { class: "soft" }, data.paper_note));
const tables = make("details", data.paper_open ? { open: "" } : {}, make("summary", {}, "The paper’s tables"));
for (const table of data.tables) tables.append(paperTable(table));
page.append(tables);
