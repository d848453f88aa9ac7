"""Every table on disk, written once: Arrow schemas whose fields carry their own description.

The data dictionary (``docs/data-dictionary.md``) is generated from this file.
"""

import pyarrow as pa


def _field(name: str, type_: pa.DataType, description: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, type_, nullable=nullable, metadata={"description": description})


def _schema(name: str, description: str, *fields: pa.Field) -> pa.Schema:
    return pa.schema(fields, metadata={"name": name, "description": description})


_SNAPSHOT = _field("snapshot", pa.string(), "Run of the configured sources; the partition.", nullable=False)
_KEY = _field(
    "key", pa.string(), "Sample: first 32 hex digits of the sha256 of the original image bytes.", nullable=False
)

LEDGER = _schema(
    "ledger",
    "Every URL ever tried, page or image, with what became of it.",
    _SNAPSHOT,
    _field("kind", pa.string(), "What was asked for: page, image, robots, archive.", nullable=False),
    _field(
        "source",
        pa.string(),
        "Configured source the URL came from; * for robots.txt, asked for all.",
        nullable=False,
    ),
    _field("url", pa.string(), "URL as found, normalised.", nullable=False),
    _field("final_url", pa.string(), "URL after redirects."),
    _field("parent_url", pa.string(), "Page the URL was found on."),
    _field("depth", pa.int32(), "Links from a start URL."),
    _field("status", pa.string(), "Outcome: see crawl.ledger.Status.", nullable=False),
    _field("detail", pa.string(), "What happened, in words."),
    _field("http_status", pa.int32(), "Status code of the last response."),
    _field("consent", pa.string(), "Verdict: allowed or the rule that forbade it.", nullable=False),
    _field("consent_evidence", pa.string(), "The robots rule, header or tag that decided, literally."),
    _field("license_url", pa.string(), "Licence link of the page (rel=license)."),
    _field("content_type", pa.string(), "Content-Type of the last response."),
    _field("bytes", pa.int64(), "Bytes of body received.", nullable=False),
    _field("sha256", pa.string(), "sha256 of the body, where whole."),
    _field("key", pa.string(), "Sample the image became, where it became one."),
    _field("etag", pa.string(), "ETag header: lets a later snapshot ask whether it changed."),
    _field("last_modified", pa.string(), "Last-Modified header, for the same."),
)

REQUESTS = _schema(
    "requests",
    "When and how each URL of the ledger was asked: what two crawls of the same web do not share.",
    _SNAPSHOT,
    _field("kind", pa.string(), "What was asked for: page, image, robots, archive.", nullable=False),
    _field("url", pa.string(), "URL as found, normalised.", nullable=False),
    _field("attempts", pa.int32(), "Requests made, retries included.", nullable=False),
    _field("fetched_at", pa.float64(), "Start of the first request, seconds since 1970; 0 where none.", nullable=False),
    _field("seconds", pa.float64(), "Time from first request to outcome.", nullable=False),
)

PAGES = _schema(
    "pages",
    "Fetched HTML, kept so that texts can be extracted again without another crawl.",
    _SNAPSHOT,
    _field("source", pa.string(), "Configured source.", nullable=False),
    _field("url", pa.string(), "URL asked for.", nullable=False),
    _field("final_url", pa.string(), "URL after redirects; relative links resolve against it.", nullable=False),
    _field("depth", pa.int32(), "Links from a start URL.", nullable=False),
    _field("content_type", pa.string(), "Content-Type header."),
    _field("x_robots_tag", pa.string(), "X-Robots-Tag headers, joined by newlines."),
    _field("tdm_reservation", pa.string(), "tdm-reservation headers, joined by newlines."),
    _field("tdm_policy", pa.string(), "tdm-policy headers, joined by newlines."),
    _field("body", pa.binary(), "Bytes of the page, content-encoding removed.", nullable=False),
)

PAIRS = _schema(
    "pairs",
    "Image URL and text candidates found on a page, one row per text; rejected ones stay, with the reason.",
    _SNAPSHOT,
    _field("source", pa.string(), "Configured source.", nullable=False),
    _field("page_url", pa.string(), "Page it was found on.", nullable=False),
    _field("image_url", pa.string(), "Absolute image URL, the largest candidate.", nullable=False),
    _field(
        "image_field",
        pa.string(),
        "Where the image URL stood: src, srcset, data-src, picture, og:image …; the kind of a source without pages.",
    ),
    _field("text", pa.string(), "Text, cleaned (Unicode NFC, entities, whitespace)."),
    _field(
        "text_field",
        pa.string(),
        "Where the text stood: alt, title, aria-label, figcaption, og:image:alt; a column or file elsewhere.",
    ),
    _field("position", pa.int32(), "Rank of the image on its page.", nullable=False),
    _field("declared_width", pa.int32(), "width attribute, pixels."),
    _field("declared_height", pa.int32(), "height attribute, pixels."),
    _field("labels", pa.list_(pa.string()), "Hygiene labels: file_name, boilerplate, too_short, not_english …"),
    _field("license_url", pa.string(), "Licence link of the page."),
    _field("rejected", pa.string(), "Why no fetch is made (no_text, data_uri, icon, page_noai …); null where one is."),
)

SAMPLES = _schema(
    "samples",
    "One image with at least one text: the sidecar of a shard.",
    _KEY,
    _SNAPSHOT,
    _field("source", pa.string(), "Configured source.", nullable=False),
    _field("shard", pa.string(), "Tar file, relative to the snapshot's shard directory.", nullable=False),
    _field("image_offset", pa.int64(), "Byte offset of the stored image inside the tar.", nullable=False),
    _field("image_bytes", pa.int64(), "Bytes of the stored image.", nullable=False),
    _field("image_ext", pa.string(), "Extension of the stored image: jpg, png or webp.", nullable=False),
    _field("image_sha256", pa.string(), "sha256 of the stored image.", nullable=False),
    _field("width", pa.int32(), "Stored width, pixels.", nullable=False),
    _field("height", pa.int32(), "Stored height, pixels.", nullable=False),
    _field("original_width", pa.int32(), "Width as fetched, pixels.", nullable=False),
    _field("original_height", pa.int32(), "Height as fetched, pixels.", nullable=False),
    _field("original_bytes", pa.int64(), "Bytes as fetched.", nullable=False),
    _field("original_format", pa.string(), "Format as fetched: JPEG, PNG, WEBP, GIF.", nullable=False),
    _field("original_sha256", pa.string(), "sha256 of the bytes as fetched.", nullable=False),
    _field("phash", pa.string(), "64-bit perceptual hash, 16 hex digits.", nullable=False),
    _field("image_url", pa.string(), "Where the image was fetched.", nullable=False),
    _field("page_url", pa.string(), "First page that showed it."),
    _field("license_url", pa.string(), "Licence link of that page."),
    _field("animated", pa.bool_(), "Whether the original moves; its first frame is stored."),
    _field("exif", pa.string(), "EXIF of the original that matters to training, as JSON; never a place or a person."),
    _field("consent", pa.string(), "What allowed the fetch.", nullable=False),
    _field("alt_text", pa.string(), "The original text: first clean text in order of field.", nullable=False),
    _field(
        "texts",
        pa.list_(
            pa.struct(
                [
                    ("text", pa.string()),
                    ("field", pa.string()),
                    ("page_url", pa.string()),
                    ("labels", pa.list_(pa.string())),
                ]
            )
        ),
        "Every text found for it.",
    ),
)

DUPLICATES = _schema(
    "duplicates",
    "Clusters of near-duplicate samples; samples in no cluster have no row.",
    _SNAPSHOT,
    _KEY,
    _field("cluster", pa.string(), "Key of the kept member.", nullable=False),
    _field("kind", pa.string(), "exact, perceptual or semantic.", nullable=False),
    _field("kept", pa.bool_(), "Whether this member is the kept one.", nullable=False),
    _field("distance", pa.int32(), "Hamming distance of the perceptual hashes to the kept member.", nullable=False),
    _field("cosine", pa.float64(), "Cosine of the image embeddings to the kept member; null unless semantic."),
    _field("reason", pa.string(), "Why this member is kept or not, in words.", nullable=False),
)

CONTAMINATION = _schema(
    "contamination",
    "Samples that give away the evaluation set: no model that is scored on it may train on them.",
    _SNAPSHOT,
    _KEY,
    _field("kind", pa.string(), "exact, perceptual, semantic (images) or text.", nullable=False),
    _field("reference", pa.string(), "Evaluation image (key) or prompt (prompt_id) it agrees with.", nullable=False),
    _field("distance", pa.int32(), "Hamming distance of the perceptual hashes; null for text."),
    _field("cosine", pa.float64(), "Cosine of the image embeddings; null unless semantic."),
    _field("detail", pa.string(), "What agrees, in words.", nullable=False),
)

PURGES = _schema(
    "purges",
    "Samples that were taken out again, with the wish that asked for it; their images and texts are gone.",
    _field("purge", pa.string(), "Name of the purge: time and digest of its rules.", nullable=False),
    _SNAPSHOT,
    _KEY,
    _field("rule", pa.string(), "What matched: key=…, host=…, url=… or consent=….", nullable=False),
    _field(
        "reason", pa.string(), "Why, as the person who purged said, or the evidence of the consent.", nullable=False
    ),
    _field("purged_at", pa.float64(), "Seconds since 1970.", nullable=False),
)

TAINTED = _schema(
    "tainted",
    "Models that were trained on a purged sample, found through the lineage.",
    _field("purge", pa.string(), "Name of the purge.", nullable=False),
    _field("path", pa.string(), "Directory of the artifact, relative to the home.", nullable=False),
    _field("asset", pa.string(), "Asset that it is.", nullable=False),
    _field("digest", pa.string(), "Digest of the artifact.", nullable=False),
    _field("samples", pa.int64(), "Purged samples among its training data.", nullable=False),
)

CAPTIONS = _schema(
    "captions",
    "Texts about samples, with what wrote them.",
    _field("caption_id", pa.string(), "Digest of (key, source, caption).", nullable=False),
    _KEY,
    _field("source", pa.string(), "alt, human, synthetic_short or synthetic_descriptive.", nullable=False),
    _field("caption", pa.string(), "The text.", nullable=False),
    _field("captioner", pa.string(), "Digest of the captioner; null for alt and human."),
    _field("decode", pa.string(), "Decode settings as JSON; null for alt and human."),
    _field("seed", pa.int64(), "Seed of this sample's decoding."),
    _field("log_probability", pa.float64(), "Sum of token log-probabilities, natural log."),
)

SCORES = _schema(
    "scores",
    "Numbers about (sample, caption); thresholds live elsewhere.",
    _field("caption_id", pa.string(), "Caption scored.", nullable=False),
    _KEY,
    _field("scorer", pa.string(), "Digest of our scoring model, or the name of one from elsewhere.", nullable=False),
    _field(
        "kind",
        pa.string(),
        "itm (probability that text and image match), itc (cosine), clip (cosine of an independent CLIP), or of the "
        "experiments' captions clip_s and ref_clip_s (CLIPScore and RefCLIPScore, Hessel et al. 2021).",
        nullable=False,
    ),
    _field("value", pa.float64(), "The number.", nullable=False),
)

VERDICTS = _schema(
    "verdicts",
    "Keep or reject, from scores and thresholds.",
    _field("caption_id", pa.string(), "Caption judged.", nullable=False),
    _KEY,
    _field("source", pa.string(), "Source of the caption.", nullable=False),
    _field("kept", pa.bool_(), "Whether it may train a model.", nullable=False),
    _field("reason", pa.string(), "kept, or the rule that rejected it.", nullable=False),
    _field("value", pa.float64(), "Score, number of words or of images that the rule looked at; null where none is."),
    _field("threshold", pa.float64(), "What the value was held against; null where there is none."),
    _field("detail", pa.string(), "What was found: list and phrase of listed_word, the text of shared_text."),
)

CAPTION_TICS = _schema(
    "caption_tics",
    "How each source of captions writes, one number a row; captioners and decodings side by side.",
    _field("source", pa.string(), "alt, human, synthetic_short or synthetic_descriptive.", nullable=False),
    _field("captioner", pa.string(), "Digest of the captioner; null for alt and human."),
    _field("decode", pa.string(), "Style and decode settings as JSON; of human captions the style; null for alt."),
    _field("current", pa.bool_(), "Whether these are the snapshot's captions now; else another captioner's.", False),
    _field(
        "tic",
        pa.string(),
        "What is measured: captions, images, words_mean, words_sd, words_p05 to words_p95, length (rank is the number "
        "of words), opening_1 to opening_3 (words) with opening_…_entropy (bits), case, ending, vocabulary, cut_off, "
        "repeated (share of captions that another image has too), repeated_text, overused (words), kept, rejected "
        "(reasons); compared_…, measured on equally many captions of each source: captions, repeats, distinct_1, "
        "distinct_2 (distinct words and pairs of words over all).",
        nullable=False,
    ),
    _field("rank", pa.int32(), "Place among the texts of a tic, 1 the most frequent."),
    _field("text", pa.string(), "Opening, caption, word, case, ending or reason that is counted."),
    _field(
        "value",
        pa.float64(),
        "The number: a share of the captions where a text is counted; of overused words, log-odds against people's "
        "captions in standard deviations.",
        nullable=False,
    ),
    _field("captions", pa.int64(), "Captions that are counted, where they are."),
)

BLENDS = _schema(
    "blends",
    "Captions a recipe can draw for a sample, with the probability of each; they sum to 1 per sample.",
    _KEY,
    _SNAPSHOT,
    _field("caption_id", pa.string(), "Caption.", nullable=False),
    _field("source", pa.string(), "alt, human, synthetic_short or synthetic_descriptive.", nullable=False),
    _field("caption", pa.string(), "The text.", nullable=False),
    _field("weight", pa.float64(), "Probability of drawing it in an epoch.", nullable=False),
)

IMAGE_EMBEDDINGS = _schema(
    "image_embeddings",
    "One unit-norm CLIP image embedding per sample.",
    _KEY,
    _field("embedding", pa.list_(pa.float32()), "Unit-norm vector.", nullable=False),
)

TEXT_EMBEDDINGS = _schema(
    "text_embeddings",
    "One unit-norm CLIP text embedding per caption of a blend.",
    _field("caption_id", pa.string(), "Caption.", nullable=False),
    _KEY,
    _field("caption", pa.string(), "The text.", nullable=False),
    _field("weight", pa.float64(), "Probability of drawing it in an epoch.", nullable=False),
    _field("embedding", pa.list_(pa.float32()), "Unit-norm vector.", nullable=False),
)

LATENTS = _schema(
    "latents",
    "Mean of the autoencoder's posterior per sample, normalised to zero mean and unit variance.",
    _KEY,
    _field(
        "latent",
        pa.list_(pa.float32()),
        "Flattened (channels, height, width); the shape stands in latents.json.",
        nullable=False,
    ),
)

METRICS = _schema(
    "metrics",
    "What a training run logged.",
    _field("step", pa.int64(), "Optimizer steps done.", nullable=False),
    _field("name", pa.string(), "What was measured, with its phase: loss, val/psnr …", nullable=False),
    _field("value", pa.float64(), "The number.", nullable=False),
    _field("seconds", pa.float64(), "Since the job started.", nullable=False),
)

PROMPTS = _schema(
    "prompts",
    "What the models are asked to draw, with what a right picture must show.",
    _field("prompt_id", pa.string(), "Digest of style and prompt and scene.", nullable=False),
    _field("scene_id", pa.string(), "Scene the prompt describes; prompts of one scene are a cluster.", nullable=False),
    _field(
        "style",
        pa.string(),
        "original (as web texts) or descriptive; t2i_compbench, geneval or drawbench where it is from a file.",
        nullable=False,
    ),
    _field(
        "category",
        pa.string(),
        "T2I-CompBench category: color, shape, texture, spatial, 3d_spatial, numeracy, non_spatial, complex; a task of "
        "GenEval (geneval_…) or a category of a DrawBench-style file (drawbench_…).",
        nullable=False,
    ),
    _field("prompt", pa.string(), "The text.", nullable=False),
    _field(
        "facts",
        pa.string(),
        "What the prompt says, as JSON: objects and relation (see synthweb.language); without objects where the "
        "scoring job reads it from the text.",
        nullable=False,
    ),
    _field(
        "reference_key", pa.string(), "Sample of the reference shard that shows the scene; null for prompts from files."
    ),
)

UPSAMPLER_EXAMPLES = _schema(
    "upsampler_examples",
    "Captions that show a pretrained language model how to upsample; a purge takes its samples out.",
    _KEY,
    _field("prompt", pa.string(), "A short text about the sample.", nullable=False),
    _field("text", pa.string(), "Its descriptive caption.", nullable=False),
)

UPSAMPLED = _schema(
    "upsampled",
    "Short prompts made descriptive, with what wrote them; none is lost.",
    _field("prompt", pa.string(), "The prompt as it was asked.", nullable=False),
    _field("upsampled", pa.string(), "The descriptive prompt; the prompt itself on a fallback.", nullable=False),
    _field(
        "status",
        pa.string(),
        "kept (all that the prompt says is in the text) or fallback (no candidate kept it all).",
        nullable=False,
    ),
    _field("seed", pa.int64(), "Seed of the candidates.", nullable=False),
    _field("model", pa.string(), "Digest of the upsampler.", nullable=False),
    _field("log_probability", pa.float64(), "Sum of token log-probabilities, natural log; null on a fallback."),
)

GENERATED = _schema(
    "generated",
    "One generated image; the image itself lies in the tar beside the table.",
    _field("key", pa.string(), "Sample key of the generated image inside its tar.", nullable=False),
    _field("prompt_id", pa.string(), "Prompt drawn.", nullable=False),
    _field("seed", pa.int64(), "Seed of the noise.", nullable=False),
    _field("model", pa.string(), "Digest of the diffusion model.", nullable=False),
    _field("image_offset", pa.int64(), "Byte offset of the image inside images.tar.", nullable=False),
    _field("image_bytes", pa.int64(), "Bytes of the image.", nullable=False),
)

FEATURES = _schema(
    "features",
    "One feature vector of a picture, by an encoder that distances are measured with.",
    _field("key", pa.string(), "Sample key, or key of the generated image.", nullable=False),
    _field("feature", pa.list_(pa.float32()), "The vector as the encoder gives it.", nullable=False),
)

SCORER = _field(
    "scorer",
    pa.string(),
    "Who scored: digest of a model trained here or of an encoder's weights, or the name of another judge with its "
    "version or its models' digest (pixels-1, pretrained-…); of one with a network that answers, …+answerer.",
    nullable=False,
)

EVALS = _schema(
    "evals",
    "One score of one image; aggregates are made from these.",
    _field(
        "system",
        pa.string(),
        "generated, ceiling (real images of the prompts) or floor (real images, shuffled prompts; "
        "for distances, real images with shuffled patches); real (held-out images: retrieval).",
        nullable=False,
    ),
    _field("recipe", pa.string(), "Blend the model was trained on; null for ceiling and floor."),
    _field(
        "model", pa.string(), "Digest of the diffusion model, of the CLIP for retrieval; null for ceiling and floor."
    ),
    _field("prompt_id", pa.string(), "Prompt; null for scores of a whole set."),
    _field("scene_id", pa.string(), "Cluster for the bootstrap."),
    _field("style", pa.string(), "Style of the prompt; all for retrieval.", nullable=False),
    _field("category", pa.string(), "Category of the prompt; all for a whole set.", nullable=False),
    _field("seed", pa.int64(), "Seed of the image."),
    _field(
        "image_key",
        pa.string(),
        "Picture that was scored: key among the generated, or of the real image; null for a whole set.",
    ),
    _field("picture", pa.string(), "Digest of the pixels that the scorer looked at; null for a whole set."),
    _field("asked", pa.string(), "Digest of what the picture was held against: prompt, facts, references."),
    _field(
        "metric",
        pa.string(),
        "clip_cosine and clip_cosine_photo (raw cosines with the prompt, without and with the prefix of Hessel et al. "
        "2021), clip_score, clip_s, ref_clip_s (derived), categories of T2I-CompBench, tasks of GenEval (geneval_…), "
        "distances (fd_judge …); of a distance also what it rests on (…/n, …/scenes, …/real), its resamples "
        "(…/bootstrap) and, where a set is too small for it, a row in its place that says so (…/left_out).",
        nullable=False,
    ),
    _field(
        "metric_version",
        pa.string(),
        "Version of the rule, followed by a digest of its settings where they are not the defaults.",
        nullable=False,
    ),
    SCORER,
    _field("value", pa.float64(), "The number.", nullable=False),
    _field("reason", pa.string(), "Why the score is not full, in words."),
)

JUDGES = _schema(
    "judges",
    "How far each judge can be trusted, on held-out pictures whose truth is known.",
    _field(
        "judge",
        pa.string(),
        "oracle (the truth itself: what it gives to a floor is chance), trained, trained_vqa or pixels.",
        nullable=False,
    ),
    _field("condition", pa.string(), "sharp, or how the pictures were disturbed: blur …, noise ….", nullable=False),
    _field(
        "measure",
        pa.string(),
        "detection_f1, shape, color, texture, background, count, relation, whole (accuracies); ceiling/…, floor/… and "
        "swapped/… (mean score of a rule against own facts, another picture's, own with a colour exchanged); agreement "
        "and kappa (verdicts beside another judge's).",
        nullable=False,
    ),
    _field("other", pa.string(), "Judge that is agreed with; null elsewhere."),
    _field("value", pa.float64(), "The number.", nullable=False),
    _field("n", pa.int64(), "Pictures, scores or verdicts behind it.", nullable=False),
)

LEADERBOARD = _schema(
    "leaderboard",
    "Models by metrics by prompt style, with intervals, floors and ceilings. Rows of one metric compare where "
    "metric_version and scorer are the same.",
    _field("system", pa.string(), "generated, ceiling or floor.", nullable=False),
    _field("recipe", pa.string(), "Blend; null for ceiling and floor."),
    _field("model", pa.string(), "Digest of the diffusion model."),
    _field(
        "style",
        pa.string(),
        "original or descriptive; t2i_compbench, geneval or drawbench for prompts of a published file.",
        nullable=False,
    ),
    _field(
        "metric",
        pa.string(),
        "Metric; compositional is the mean over the categories that there are, geneval that over GenEval's six tasks.",
        nullable=False,
    ),
    _field(
        "metric_version",
        pa.string(),
        "Version of the rule with its settings; of a mean of categories also which, and a digest of unlike versions.",
        nullable=False,
    ),
    SCORER,
    _field("value", pa.float64(), "Mean, or the score of the whole set.", nullable=False),
    _field("low", pa.float64(), "Lower end of the 95 % interval."),
    _field("high", pa.float64(), "Upper end of the 95 % interval."),
    _field("n", pa.int64(), "Images.", nullable=False),
    _field("scenes", pa.int64(), "Scenes that the images are of, which the interval resamples."),
    _field("real_images", pa.int64(), "Real images that a distance is measured from; null for scores of images."),
    _field("baseline", pa.string(), "Recipe of the paired difference; null on plain rows."),
    _field("floor", pa.float64(), "Mean of the floor: same style, metric, version and scorer; null without one."),
    _field("ceiling", pa.float64(), "Mean of the ceiling: same style, metric, version and scorer; null without one."),
    _field(
        "warning",
        pa.string(),
        "Why the number is to be read with care (few scenes or images, unlike bias), and why a bound or the difference "
        "from the baseline is missing; else null.",
    ),
)

VOTES = _schema(
    "votes",
    "What people said of two generated pictures of one prompt, shown blind: one vote a file.",
    _field(
        "vote",
        pa.string(),
        "Digest of voter, question, prompt, seed and how both pictures were drawn: one vote each.",
        nullable=False,
    ),
    _field("voter", pa.string(), "Name that the voter gave.", nullable=False),
    _field("question", pa.string(), "What was asked.", nullable=False),
    _field("choice", pa.string(), "left, right or tie.", nullable=False),
    _field("prompt_id", pa.string(), "Prompt of both pictures.", nullable=False),
    _field("scene_id", pa.string(), "Cluster for the bootstrap.", nullable=False),
    _field("style", pa.string(), "Style of the prompt.", nullable=False),
    _field("category", pa.string(), "Category of the prompt.", nullable=False),
    _field("seed", pa.int64(), "Seed of both pictures.", nullable=False),
    *(
        _field(f"{side}_{name}", pa.string(), f"{about} the {side} picture.", nullable=False)
        for side in ("left", "right")
        for name, about in (
            ("recipe", "Blend of the model that drew"),
            ("model", "Digest of the model that drew"),
            ("images", "Digest of the artifact that holds"),
            ("key", "Sample key of"),
        )
    ),
    _field("voted_at", pa.float64(), "Seconds since 1970.", nullable=False),
    _field("seconds", pa.float64(), "From first showing to vote; null where it was shown before a restart."),
)

ELO = _schema(
    "elo",
    "Ratings that people's votes give, as they stood when they were last taken.",
    _field("question", pa.string(), "What was asked.", nullable=False),
    _field("style", pa.string(), "Style of the prompts.", nullable=False),
    _field(
        "ranking",
        pa.int64(),
        "Ratings compare within one ranking of a question and style; 1 has the latest vote; null without a rating.",
    ),
    _field("recipe", pa.string(), "Blend the model was trained on.", nullable=False),
    _field("model", pa.string(), "Digest of the diffusion model.", nullable=False),
    _field(
        "elo",
        pa.float64(),
        "Rating by GLIDE's formula, 0 in the mean of a ranking; null where none is finite: all won or all lost.",
    ),
    _field("low", pa.float64(), "Lower end of the 95 % interval, resampled over scenes; null where unknown."),
    _field("high", pa.float64(), "Upper end of the 95 % interval."),
    _field("votes", pa.int64(), "Votes on the model's pictures.", nullable=False),
    _field("scenes", pa.int64(), "Scenes that these votes are on.", nullable=False),
    _field("voters", pa.int64(), "People behind the ranking.", nullable=False),
    _field("warning", pa.string(), "Why the rating is to be read with care, or there is none; else null."),
    _field("rated_at", pa.float64(), "Seconds since 1970.", nullable=False),
)

ALL = (
    LEDGER,
    REQUESTS,
    PAGES,
    PAIRS,
    SAMPLES,
    DUPLICATES,
    CONTAMINATION,
    PURGES,
    TAINTED,
    CAPTIONS,
    SCORES,
    VERDICTS,
    CAPTION_TICS,
    BLENDS,
    IMAGE_EMBEDDINGS,
    TEXT_EMBEDDINGS,
    LATENTS,
    METRICS,
    PROMPTS,
    UPSAMPLER_EXAMPLES,
    UPSAMPLED,
    GENERATED,
    FEATURES,
    EVALS,
    JUDGES,
    LEADERBOARD,
    VOTES,
    ELO,
)
