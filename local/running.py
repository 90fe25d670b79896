"""The base class of servers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Running(ABC):
    """Something that runs inside `with`, or from `start` to `close`."""

    @abstractmethod
    def start(self) -> Self:
        """Start to run."""

    @abstractmethod
    def close(self) -> None:
        """Stop."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
