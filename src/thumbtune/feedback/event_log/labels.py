"""The labels of a log under a policy (`policies`), from the tables `latest` and `firsts`, by the engine.

Every table of labels is in the order in which the images first occur in the log, as a store's is in the order in which
its images were added.
"""

from thumbtune.feedback.event_log.engine import text
from thumbtune.feedback.policies import RATER_PREFIX, check_policy

WINNERS = {  # of an image: its likes (a) and dislikes (b) -> which count: true, false, both (NULL) or none
    "majority": "a <> b AND l.liked = (a > b)",
    "unanimous": "a = 0 OR b = 0",
    "any-dislike": "l.liked = (b = 0)",
}


def labels_query(policy: str, has_weights: bool = True) -> str:
    """Return the query of all labels under a policy: image, prompt, liked, weight, grade, rater, moment.

    Args:
        has_weights: whether the log has weights or grades; without them none is added up.

    Raises:
        UsageError: the policy does not exist.
    """
    check_policy(policy)
    each = "image, prompt, liked, weight, grade, our_words AS rater, moment"
    named = "JOIN distinct_rater r ON r.id = l.rater"
    if policy == "per-vote":
        return f"SELECT {each} FROM latest l {named}"
    if policy.startswith(RATER_PREFIX):
        return f"SELECT {each} FROM latest l {named} WHERE our_words = {text(policy.removeprefix(RATER_PREFIX))}"
    means = "sum(weight ORDER BY our_words) / count(*) AS weight, "
    means += "sum(grade ORDER BY our_words) / nullif(count(grade), 0) AS grade"
    return f"""
        SELECT image, prompt, liked, weight, grade, moment,
            CASE WHEN raters = 1 THEN our_words ELSE {text(policy + " of ")} || raters END AS rater
        FROM (
            SELECT image, prompt, bool_and(l.liked) AS liked, any_value(l.rater) AS rater, any_value(a + b) AS raters,
                {means if has_weights else "1.0 AS weight, NULL::DOUBLE AS grade"}, max(moment) AS moment
            FROM latest l JOIN (
                SELECT image, prompt, count_if(liked) AS a, count_if(NOT liked) AS b FROM latest GROUP BY image, prompt
            ) counted USING (image, prompt) {named if has_weights else ""}
            WHERE {WINNERS[policy]} GROUP BY image, prompt
        ) l {named}"""


def rows_query(policy: str, has_weights: bool = True) -> str:
    """Return the query of the rows that training reads, in their order; `has_weights` as in `labels_query`."""
    return f"""
        SELECT i.our_sha256 AS image_id, a.address, p.our_words AS prompt, l.liked AS label, l.weight, l.grade, l.rater,
            f.seed, f.model, f.source, make_timestamp(l.moment) AS created_at
        FROM ({labels_query(policy, has_weights)}) l JOIN firsts f USING (image, prompt)
        JOIN distinct_image i ON i.id = l.image JOIN addresses a ON a.our_sha256 = i.our_sha256
        JOIN distinct_prompt p ON p.id = l.prompt
        ORDER BY f.first, l.rater"""
