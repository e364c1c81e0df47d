"""Jobs as hashes of Redis: a name and a text in turn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from service.jobs.job import Job, JobStatus, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from service.jobs.job import Submission


def fields_of(submission: Submission) -> list[str]:
    """Return what a hash keeps of a submission: all but its body."""
    request = submission.request
    return flat(
        {
            "id": submission.id,
            "key": submission.key,
            "digest": submission.digest,
            "model": submission.model,
            "version": submission.version,
            "signature": submission.signature,
            "owner": submission.owner,
            "path": request.path,
            "headers": json.dumps(dict(request.headers)),
            "kept_bytes": request.kept_bytes,
            "total": submission.total,
            "unit": submission.unit,
            "queue_seconds": submission.queue_seconds,
            "result_seconds": submission.result_seconds,
        }
    )


def flat(fields: Mapping[str, str | float | None]) -> list[str]:
    """Return names and values in turn, as Redis takes a hash; `None` is left out."""
    given = [(name, str(value)) for name, value in fields.items() if value is not None]
    return [text for pair in given for text in pair]


def table_of(pairs: Sequence[bytes]) -> dict[str, str]:
    """Return what Redis gives of a hash, as `flat` makes it."""
    texts = iter([each.decode() for each in pairs])
    return dict(zip(texts, texts, strict=True))


def job_of(table: Mapping[str, str]) -> Job:
    def moment(name: str) -> float | None:
        return float(table[name]) if name in table else None

    return Job(
        id=table["id"],
        model=table["model"],
        version=int(table["version"]) if "version" in table else None,
        signature=table.get("signature"),
        status=JobStatus(table["status"]),
        progress=Progress(
            done=int(table["done"]), total=int(table["total"]), unit=table["unit"]
        ),
        created_at=float(table["created_at"]),
        started_at=moment("started_at"),
        completed_at=moment("completed_at"),
        expires_at=moment("expires_at"),
        attempts=int(table["attempts"]),
        error=table.get("error"),
        revision=int(table["revision"]),
        owner=table.get("owner"),
    )


def kept_bytes(table: Mapping[str, str], name: str) -> int | None:
    return int(table[name]) if name in table else None
