"""The base class of servers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Running(ABC):
    """A server that runs inside `with`, or from `start` to `close`."""

    @abstractmethod
    def start(self) -> Self:
        """Start the server."""

    @abstractmethod
    def close(self) -> None:
        """Stop the server."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
