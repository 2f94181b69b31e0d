"""Pretrained parts a model is joined from: what there is, where it comes from, how it is read."""
