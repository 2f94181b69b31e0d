"""What each figure of the report says, in a plain sentence or two."""

TITLES = {
    "totals": "What came of it",
    "leaves": "Yield by kind of question",
    "reasons": "Why items were not kept",
    "agreement": "Who agrees with whom",
    "hearing": "Is it heard, or guessed?",
    "positions": "Where the right choice stands",
    "order": "Does the judge prefer a place?",
    "cost": "Cost and time",
    "samples": "Hear for yourself",
}
EXPLAINED = {
    "totals": "Every item ends in exactly one of four ways: kept for training; discarded, with a"
    " reason; set aside as hard, where models disagree or the caption gives only weak support; or"
    " failed, where a step got no usable reply and is tried again by the next run.",
    "leaves": "One row for each leaf of the taxonomy that was asked for. The yield is the share of"
    " questions written that were kept; “short” is how many the leaf still lacks of the number"
    " asked for.",
    "reasons": "Each item that was not kept has one reason, that of the step which stopped it."
    " Shares are of all items not kept.",
    "agreement": "The share of questions on which two of them picked the same choice, among those"
    " on which both picked one. The judge picks what its winner picked; the question writer picks"
    " the choice it wrote as right. Low agreement between two answerers means that at least one of"
    " them does not hear what is asked.",
    "hearing": "The same questions, put with their own audio, with another clip in its place, and"
    " with none. A question is worth training on when a model does well with the audio and no"
    " better than chance without it. The range is where the share would lie, 95 times out of 100,"
    " with other questions of the same kind, counting each question once.",
    "positions": "How often the right choice stands first, second and so on, beside what an even"
    " spread would give; p is the chance of a spread at least as uneven if all places were equally"
    " likely. A small p for the right choices is a fault of the set; for what a model picked, a"
    " habit of that model.",
    "order": "Where the models disagree and the judge names one winner, how often that was the"
    " first answer it was shown, the second, and so on. The order is drawn for each question, so a"
    " judge without a preference for a place gives each the even number.",
    "cost": "Calls by step and model. “Refused” replies were not as asked and were asked again."
    " Seconds are summed over calls, waiting included; calls run side by side, so the run itself"
    " may be shorter. “Unknown” means that no call told it; “at least” means that some did not."
    " Nothing is guessed.",
    "samples": "A few items of every leaf and outcome, with the audio they are about.",
}
