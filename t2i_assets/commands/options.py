"""What commands share: their options, and errors told in one line."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click


def clear_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the errors that a person can mend into one line; leave those of the program as they are."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        from t2i_assets.config import SettingsError
        from t2i_assets.corpus.artifacts import MissingArtifactError
        from t2i_assets.corpus.catalog import QueryError
        from t2i_assets.corpus.snapshots import SnapshotNameError
        from t2i_assets.crawl.status import CrawlFailedError
        from t2i_assets.demo.run import DemoFailedError

        told = (
            *(SettingsError, MissingArtifactError, QueryError, DemoFailedError, CrawlFailedError, SnapshotNameError),
            *(EOFError, OSError),
        )
        try:
            return command(*args, **kwargs)
        except told as error:
            raise click.ClickException(str(error)) from error

    return run


home_option = click.option(
    "--home",
    envvar="T2I_HOME",
    type=click.Path(path_type=Path),
    default=Path(".t2i"),
    show_default=True,
    help="Where artifacts lie.",
)
preset_option = click.option(
    "--preset", envvar="T2I_PRESET", default="tiny", show_default=True, help="Preset by name, or a YAML file."
)
