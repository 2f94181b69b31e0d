// An item in words, for the report and for reviewing.
const HEARD = { no_audio: "without audio", other_audio: "with another clip" };

function question(add, item) {
  add("Asked", item.query);
  add("Choices", make("ol", { type: "A", class: "choices" }, ...item.choices.map((choice, index) =>
    make("li", index === item.right ? { class: "right" } : {}, choice, index === item.right ? " ✓ meant to be right" : ""))));
}

function evidence(add, item) {
  if (item.caption) add("Caption", item.caption);
  for (const answer of item.answers) {
    const said = answer.choice === null ? "none that can be read" : item.choices[answer.choice];
    add(answer.model, said + (answer.choice === item.right ? " ✓" : ""),
      answer.reasoning ? make("div", { class: "soft small" }, answer.reasoning) : "");
  }
  for (const control of item.controls) {
    add("Control", control.model + " " + HEARD[control.kind] + ": " + control.right + " of " + control.tries + " tries right");
  }
  if (item.verdict) {
    const winner = item.answers.find((answer) => answer.shown_as === item.verdict.winner);
    add("Judge", (item.verdict.final_action === "DISCARD" ? "discard" : "keep") + "; winner: " +
      (winner ? winner.model : item.verdict.winner.toLowerCase()) + "; caption: " +
      item.verdict.consistency_with_caption.replaceAll("_", " ").toLowerCase(),
    item.verdict.reasoning ? make("div", { class: "soft small" }, item.verdict.reasoning) : "");
  }
}

function outcome(add, item) {
  const kind = { kept: " good", hard: "" }[item.fate] ?? " bad";
  add("Outcome", make("span", { class: "verdict" + kind }, item.fate + (item.reason ? ": " + item.reason : "")),
    item.detail ? make("div", { class: "soft small" }, item.detail) : "");
}
