"""From a recording of any length to a transcript.

It is cut at its pauses, silence is left out, each chunk is written down, and what came of it is
put together: text, segments, the times of words, and warnings of what a reader should know.
"""
