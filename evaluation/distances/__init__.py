"""Distances between two sets of features, and scores of one set, as plain functions over arrays."""

from evaluation.distances.diversity import Neighbours as Neighbours
from evaluation.distances.diversity import neighbours as neighbours
from evaluation.distances.diversity import neighbours_left_out as neighbours_left_out
from evaluation.distances.frechet import FrechetLimit as FrechetLimit
from evaluation.distances.frechet import frechet_distance as frechet_distance
from evaluation.distances.frechet import frechet_distance_of as frechet_distance_of
from evaluation.distances.frechet import frechet_distance_of_few as frechet_distance_of_few
from evaluation.distances.frechet import frechet_influence as frechet_influence
from evaluation.distances.frechet import frechet_influence_of_few as frechet_influence_of_few
from evaluation.distances.frechet import frechet_limit as frechet_limit
from evaluation.distances.frechet import same_distribution_expectation as same_distribution_expectation
from evaluation.distances.inception_score import inception_score as inception_score
from evaluation.distances.inception_score import inception_score_left_out as inception_score_left_out
from evaluation.distances.kernel import clip_mmd as clip_mmd
from evaluation.distances.kernel import clip_mmd_left_out as clip_mmd_left_out
from evaluation.distances.kernel import is_whole as is_whole
from evaluation.distances.kernel import kernel_distance as kernel_distance
from evaluation.distances.kernel import kernel_distance_left_out as kernel_distance_left_out
from evaluation.distances.kernel import mean_of_pairs as mean_of_pairs
from evaluation.distances.moments import Moments as Moments
from evaluation.distances.moments import TooFewError as TooFewError
from evaluation.distances.moments import finite as finite
