"""Questions of many askers, answered in batches: those that wait when the model is free make up the next one.

Ray has ``serve.batch`` for this, which closes a batch by the clock: with no time to wait, each question that comes
while the model is busy is closed into a batch of its own, and any time to wait is lost to a question that comes alone.
Here nothing waits for a batch to fill, and what comes meanwhile fills it.
"""

from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from transformers import PreTrainedModel, ProcessorMixin

from resprune.compare import Asked, Update, answer_together

Tell = Callable[[Update | Exception], None]


class Batches:
    """A thread that answers, first come, first served; it ends with the process.

    Args:
        model: with nothing attached, which nobody else asks.
        processor: that belongs to it.
        most: questions in a batch; 1 answers one after the other.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, most: int) -> None:
        self._model, self._processor, self.most = model, processor, most
        self._waiting: SimpleQueue[tuple[Asked, Tell]] = SimpleQueue()
        Thread(target=self._work, name="batches", daemon=True).start()

    def ask(self, asked: Asked, tell: Tell) -> None:
        """Answer a question when its turn comes.

        Args:
            asked: the question; who gives it up sets its ``stop``.
            tell: called in the thread that answers, with what :func:`resprune.compare.answer_together` tells.
        """
        self._waiting.put((asked, tell))

    def _work(self) -> None:
        while True:
            batch = [self._waiting.get()]
            with suppress(Empty):
                while len(batch) < self.most:
                    batch.append(self._waiting.get_nowait())
            answer_together(
                self._model,
                self._processor,
                [asked for asked, _ in batch],
                lambda number, update, batch=batch: _tell(*batch[number], update),
            )


def _tell(asked: Asked, tell: Tell, update: Update | Exception) -> None:
    try:
        tell(update)
    except Exception:  # an asker that is gone must not end the thread that answers all others
        asked.stop.set()
