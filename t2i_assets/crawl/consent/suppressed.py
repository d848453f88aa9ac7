"""The crawl's side of a purge: what was taken out is not asked for again, by whatever road it is met."""

from t2i_assets.corpus.suppression import Suppression
from t2i_assets.crawl.consent.verdict import Verdict
from t2i_assets.crawl.http.fetch import Permit
from t2i_assets.crawl.status import Status


def refusing(permit: Permit, suppression: Suppression) -> Permit:
    """Return a permit that refuses purged URLs and hosts at every hop, before anybody is asked."""

    async def judge(url: str) -> Verdict:
        rule = suppression.rule(url=url)
        return refusal(rule) if rule else await permit(url)

    return judge


def refusal(rule: str) -> Verdict:
    """Return the verdict of a purge's rule."""
    return Verdict(False, "purged", f"purged: {rule}", Status.PURGED)
