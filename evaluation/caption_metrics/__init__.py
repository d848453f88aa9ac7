"""Captions against references, pictures and known scenes: plain functions over texts, cosines and facts."""

from evaluation.caption_metrics.bleu import bleu, bleu_of
from evaluation.caption_metrics.cider import cider_d
from evaluation.caption_metrics.clip import PREFIX, clip_s, ref_clip_s
from evaluation.caption_metrics.evaluate import TextScores, evaluate_captions
from evaluation.caption_metrics.rouge import rouge_l
from evaluation.caption_metrics.scenes import FACETS, Judged, Tally, judge_caption, scene_metrics
from evaluation.caption_metrics.words import words

__all__ = [
    "FACETS",
    "PREFIX",
    "Judged",
    "Tally",
    "TextScores",
    "bleu",
    "bleu_of",
    "cider_d",
    "clip_s",
    "evaluate_captions",
    "judge_caption",
    "ref_clip_s",
    "rouge_l",
    "scene_metrics",
    "words",
]
