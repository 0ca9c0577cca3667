"""The page's frame, which answers a request of the wrong shape with a sentence, where Gradio would say nothing."""

from typing import Any

import gradio as gr

WRONG_KIND = (
    "A value is of the wrong kind, or a file was not uploaded to this page first; the page's foot, under "
    '"Use via API", lists what each endpoint takes.'
)


class Page(gr.Blocks):
    """Blocks that tell a caller when values cannot be read at all: too few, of another type, a file of the server."""

    async def preprocess_data(self, *values: Any, **options: Any) -> Any:
        """See :meth:`gr.Blocks.preprocess_data`.

        Raises:
            gr.Error: with a sentence for the caller, in the place of every other error.
        """
        try:
            return await super().preprocess_data(*values, **options)
        except gr.Error:
            raise
        except Exception as error:  # components and their data models raise whatever they like
            raise gr.Error(WRONG_KIND, print_exception=False) from error
