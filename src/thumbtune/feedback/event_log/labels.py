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


def labels_query(policy: str) -> str:
    """Return the query of all labels under a policy: image, prompt, liked, weight, grade, rater, moment.

    Raises:
        UsageError: the policy does not exist.
    """
    check_policy(policy)
    named = "SELECT l.*, dr.our_words AS name FROM latest l JOIN distinct_rater dr ON dr.id = l.rater"
    each = "image, prompt, liked, weight, grade, name AS rater, moment"
    if policy == "per-vote":
        return f"SELECT {each} FROM ({named})"
    if policy.startswith(RATER_PREFIX):
        return f"SELECT {each} FROM ({named}) WHERE name = {text(policy.removeprefix(RATER_PREFIX))}"
    return f"""
        WITH votes AS ({named}),
        counted AS (
            SELECT image, prompt, count_if(liked) AS a, count_if(NOT liked) AS b FROM votes GROUP BY image, prompt
        )
        SELECT image, prompt, bool_and(l.liked) AS liked,
            sum(weight ORDER BY name) / count(*) AS weight,
            sum(grade ORDER BY name) / nullif(count(grade), 0) AS grade,
            CASE WHEN any_value(a + b) = 1 THEN any_value(name)
                ELSE {text(policy + " of ")} || any_value(a + b) END AS rater,
            max(moment) AS moment
        FROM votes l JOIN counted USING (image, prompt) WHERE {WINNERS[policy]} GROUP BY image, prompt"""


def rows_query(policy: str) -> str:
    """Return the query of the rows that training reads, in their order."""
    return f"""
        SELECT i.our_sha256 AS image_id, a.address, p.our_words AS prompt, l.liked AS label, l.weight, l.grade, l.rater,
            f.seed, f.model, f.source, make_timestamp(l.moment) AS created_at
        FROM ({labels_query(policy)}) l JOIN firsts f USING (image, prompt)
        JOIN distinct_image i ON i.id = l.image JOIN addresses a ON a.our_sha256 = i.our_sha256
        JOIN distinct_prompt p ON p.id = l.prompt
        ORDER BY f.first, l.rater"""
