"""What a check-up of a receiver found, in the viewer's language: by its code and its status."""

from __future__ import annotations

from typing import Final

from flask_babel import lazy_gettext

from standart.admin.language import gettext
from standart.webhooks.checkup import Finding, Step

SCENARIOS: Final = {
    "good": lazy_gettext("Rightly signed"),
    "duplicate": lazy_gettext("The same once more"),
    "rotated": lazy_gettext("Two signatures, the second is right"),
    "newer_first": lazy_gettext("The second event before the first"),
    "older_last": lazy_gettext("The first event after the second"),
    "forged": lazy_gettext("Signed with another secret"),
    "altered": lazy_gettext("Changed after it was signed"),
    "unsigned": lazy_gettext("Without a signature"),
    "stale": lazy_gettext("Rightly signed, ten minutes old"),
}
FINDINGS: Final = {
    "refused_good": lazy_gettext("It turned down a rightly signed message."),
    "refused_duplicate": lazy_gettext(
        "It turned down a message with the webhook-id of one that it had taken. What has been "
        "taken is to be answered with 2xx again."
    ),
    "refused_rotated": lazy_gettext(
        "It turned down a message with two signatures, of which the second is right. So they come "
        "for 24 hours after a rotation of the secret."
    ),
    "refused_newer_first": lazy_gettext(
        "It turned down the second event of a transaction whose first has not come yet."
    ),
    "refused_older_last": lazy_gettext(
        "It turned down the first event of a transaction whose second has come already. What is "
        "out of date is to be answered with 2xx and left alone."
    ),
    "accepted_forged": lazy_gettext(
        "It accepted a message that was signed with another secret: anybody can send it events."
    ),
    "accepted_altered": lazy_gettext(
        "It accepted a message whose body was changed after it was signed."
    ),
    "accepted_unsigned": lazy_gettext("It accepted a message without a signature."),
    "accepted_stale": lazy_gettext(
        "It accepted a rightly signed message that is ten minutes old: whoever records one can "
        "send it again for ever."
    ),
    "failed_instead_of_refusing": lazy_gettext(
        "It failed at a message that it should turn down with 401 or 400."
    ),
    "slow": lazy_gettext(
        "It took more than five seconds. Keep the message, answer 2xx at once, and do the work "
        "after that."
    ),
    "answer_incomplete": lazy_gettext("Its answer was too long, too slow or broken off."),
    "redirect": lazy_gettext(
        "It answered with a redirect, and Standart follows none. Register the URL that it leads to."
    ),
    "dns": lazy_gettext("Its name leads to no address."),
    "tls": lazy_gettext("No secure connection to it can be made."),
    "blocked": lazy_gettext("Standart may not connect there."),
    "unreachable": lazy_gettext("It cannot be reached."),
    "timeout": lazy_gettext("It did not answer in time."),
    "too_large": lazy_gettext("It answered more than Standart reads."),
    "no_http": lazy_gettext("It did not answer by HTTP."),
}
_HINTS: Final = {
    400: lazy_gettext(
        "Is the secret the endpoint's, and is the signature computed over the raw bytes of the "
        "body, before any JSON is parsed?"
    ),
    404: lazy_gettext("Is the path of the URL right?"),
    405: lazy_gettext("It must take POST."),
    410: lazy_gettext("410 says that the endpoint is gone: Standart would disable it."),
    413: lazy_gettext("It must take bodies up to 64 KiB."),
    415: lazy_gettext("It must take the content type application/json."),
    422: lazy_gettext(
        "It must take fields, types and ids that it does not know: more may be added."
    ),
    429: lazy_gettext("It turns messages down as too many."),
}
_HINTS_BY_CLASS: Final = {
    4: lazy_gettext("Does it take fields, types and ids that it does not know?"),
    5: lazy_gettext("It failed inside; its own log should say why."),
}


def in_words(finding: Finding, step: Step) -> str:
    """Return in the viewer's language what the receiver did wrong, with a hint where one helps."""
    said = str(FINDINGS.get(finding.code, finding.message))
    status = step.attempt.status_code
    if status is None or not finding.code.startswith("refused_"):
        return said
    as_400 = 400 if status in (401, 403) else status
    hint = _HINTS.get(as_400) or _HINTS_BY_CLASS.get(status // 100) or _only_success()
    return f"{said} {hint}"


def _only_success() -> str:
    return gettext("Only 2xx is success.")
