"""DataFlux: verified audio instruction data, made from raw audio in a closed loop.

    raw audio -> caption -> question -> answers -> control -> verdict -> selection -> SFT manifest

A step is two pure functions, ``ask`` (record -> request) and ``read`` (reply -> result, or a
refusal with its reason); waiting, retrying and saving live in ``caller``, ``store`` and ``run``.
Models are met through ``protocols`` only, and no torch is imported.

Source: paper section 5.1, Figure 3 and the prompts of the appendix.
"""
