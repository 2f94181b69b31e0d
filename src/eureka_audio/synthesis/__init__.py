"""Training audio made rather than recorded, whose labels are true by construction.

corpora, grammar        what is said
voices, engines         who says it, and the synthesisers that speak
recorded                what a room and a microphone do to it
speech                  a corpus of synthetic speech, in shards
signals, sounds, music  sound rendered by code
parts, scenes, captions several things composed into a clip, and its caption
"""
