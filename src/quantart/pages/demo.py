"""The page on which one photograph is painted in the manner of one painting."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from quantart.errors import UserError
from quantart.pages.painters import Painted, Painter, Painters
from quantart.pages.painting import Settings, painted, sentence, write_pair
from quantart.pages.samples import MOST, Samples, sample_files
from quantart.pages.server import PICTURES, blocks, gradio, serve_page
from quantart.project import Project
from quantart.serving.server import usable_port
from quantart.stylize.sizes import MIN_SIDE
from quantart.vocabulary.names import Domain

SIZE, STEP = 512, 32  # pixels of the long side: at first, and from one size to the next
NO_SECOND = "none"
NOT_YET = "Drop a photograph and a painting, or take some of the samples."
INTRODUCTION = """# QuantArt
**A photograph, painted in the manner of a painting.** Drop your own pictures or take some of these. Drag the handle on
the result to compare it with the photograph."""
ALPHA = "1: with the strokes of the codebook of paintings; 0: smooth, without a codebook"
ONE_NETWORK = "This model holds one network, so there is nothing to mix."
BETA = "1: all of the painting's manner; 0: the photograph's own colours and forms"
CSS = """
.gradio-container { max-width: 1500px !important }
.samples .grid-wrap { height: auto; min-height: 0; max-height: 13rem; padding-top: 1.8rem }
.samples .grid-container { grid-template-columns: repeat(auto-fill, 4.5rem); grid-auto-rows: 4.5rem }
.samples button.thumbnail-item { height: 4.5rem; width: 4.5rem; aspect-ratio: 1 }
"""


class Result(NamedTuple):
    """The components that show what one model painted."""

    column: Any
    slider: Any
    said: Any
    download: Any

    def shown(self, picture: Painted, settings: Settings, folder: Path) -> dict[Any, Any]:
        """The new value of each of them; the pictures' files are written to `folder`."""
        before, after = write_pair(picture, settings, folder)
        return {
            self.column: gradio.Column(visible=True),
            self.slider: (before, after),
            self.said: sentence(picture, settings),
            self.download: gradio.DownloadButton(value=after, interactive=True),
        }


class Inputs(NamedTuple):
    """The components of a request, as in `Settings`, and the second model's."""

    photograph: Any
    painting: Any
    alpha: Any
    beta: Any
    size: Any
    model: Any
    beside: Any


class Demo:
    """The page, and the endpoints `/paint` and `/models`."""

    def __init__(self, painters: Painters, photographs: Samples, paintings: Samples) -> None:
        self._painters = painters
        self._first = painters.painter(painters.offered[0])
        self._samples = {"photograph": photographs, "painting": paintings}
        self._shown: list[Any] = []  # events: a sample was taken
        with blocks("QuantArt") as self.page:
            gradio.Markdown(INTRODUCTION)
            with gradio.Row():
                with gradio.Column(scale=2, min_width=320):
                    pictures = [self._picture(name) for name in self._samples]
                with gradio.Column(scale=3, min_width=400):
                    with gradio.Row():
                        results = self._results()
                    with gradio.Row():
                        paint, stop = gradio.Button("Paint", variant="primary"), gradio.Button("Stop")
                    self._inputs = Inputs(*pictures, *self._controls())
            self._wire(results, paint, stop)
            self._endpoints()

    def _picture(self, name: str) -> Any:
        """Where a picture is dropped, above the samples of its kind."""
        samples = self._samples[name]
        first = samples.picture(0) if len(samples) else None
        sources = ["upload", "clipboard"]
        picture = gradio.Image(first, label=name.capitalize(), sources=sources, type="filepath", height=230)
        # the file as it was sent: nothing but `quantart.images` decodes it
        picture.preprocess = lambda sent: sent.path if sent else None
        if len(samples):
            gallery = gradio.Gallery(
                [file for file, _ in samples.thumbnails],
                label=f"… or one of these {name}s",
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_classes="samples",
            )

            def chosen(event: gradio.SelectData) -> str:
                return samples.picture(event.index)

            shown = gallery.select(chosen, None, picture, queue=False, show_progress="hidden", api_visibility="private")
            self._shown.append(shown.success)
        return picture

    def _results(self) -> list[Result]:
        """The first model's, with the example, and the second one's, which is hidden."""
        results = []
        example: tuple[tuple[str, str], str] | None = None
        if all(map(len, self._samples.values())):
            photograph, painting = (samples.picture(0) for samples in self._samples.values())
            size = min(SIZE, self._first.limits.max_size)
            settings = Settings(photograph, painting, None, 1.0, size, self._painters.offered[0])
            picture = settings.paint(self._painters)
            example = write_pair(picture, settings, PICTURES), sentence(picture, settings)
        for label, visible in (("Photograph | painted", True), ("Photograph | painted by the second model", False)):
            pair, said = example if example and visible else (None, NOT_YET)
            with gradio.Column(min_width=320, visible=visible) as column:
                slider = gradio.ImageSlider(
                    pair, label=label, interactive=False, max_height=560, buttons=["fullscreen"]
                )
                text = gradio.Markdown(said)
                download = gradio.DownloadButton("Download", value=pair and pair[1], interactive=pair is not None)
            results.append(Result(column, slider, text, download))
        return results

    def _controls(self) -> list[Any]:
        alpha, size = self._of_model(self._painters.offered[0])
        with gradio.Group():
            sliders = [
                gradio.Slider(0, 1, step=0.05, label="alpha: strokes", **alpha),
                gradio.Slider(0, 1, 1.0, step=0.05, label="beta: manner", info=BETA),
                gradio.Slider(label="size", info="Pixels of the painted picture's long side", step=STEP, **size),
            ]
        offered = self._painters.offered
        with gradio.Row():
            return [
                *sliders,
                gradio.Dropdown(offered, value=offered[0], label="Model"),
                gradio.Dropdown([NO_SECOND, *offered], value=NO_SECOND, label="A second model, beside it"),
            ]

    def _of_model(self, model: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the sliders of alpha and size are for a model."""
        painter = self._painters.painter(model)
        most = painter.limits.max_size
        info = ALPHA if painter.mixes else ONE_NETWORK
        alpha = {"value": painter.default.alpha, "interactive": painter.mixes, "info": info}
        return alpha, {"minimum": min(MIN_SIDE, most - 1), "maximum": most, "value": min(SIZE, most)}

    def _wire(self, results: list[Result], paint: Any, stop: Any) -> None:
        """What happens on the page."""
        inputs = self._inputs

        async def on_page(
            photograph: str | None, painting: str | None, alpha: float, beta: float, size: int, model: str, second: str
        ) -> AsyncGenerator[dict[Any, Any], None]:
            if not (photograph and painting):
                yield {results[0].said: NOT_YET}
                return
            for result, name in zip(results, (model, second), strict=True):
                if name == NO_SECOND:
                    yield {result.column: gradio.Column(visible=False)}
                    continue
                settings = Settings(photograph, painting, alpha, beta, size, name)
                with TemporaryDirectory() as folder:
                    async with aclosing(painted(settings, self._painters)) as steps:
                        async for step in steps:
                            yield result.shown(step, settings, Path(folder)) if step else {result.said: "Painting …"}

        def model_changed(model: str, size: int) -> list[Any]:
            try:
                alpha, sizes = self._of_model(model)
                sizes["value"] = min(size, sizes["maximum"])
                return [gradio.Slider(**alpha), gradio.Slider(**sizes)]
            except UserError as error:
                raise gradio.Error(str(error), duration=None, title="Can't be opened", print_exception=False) from error

        outputs = [component for result in results for component in result]
        painting = partial(_paints, fn=on_page, inputs=list(inputs), outputs=outputs, api_visibility="private")
        # not pictures' `change`, which comes twice for one that is sent
        changed = [inputs.photograph.upload, inputs.painting.upload, inputs.beside.change, paint.click]
        moved = [
            inputs.alpha.input,
            inputs.beta.input,
            inputs.size.release,
        ]  # another size is no matter of cached codes
        events = [painting(partial(gradio.on, [*changed, *moved]), self._first)]
        adopted = inputs.model.input(
            model_changed,
            [inputs.model, inputs.size],
            [inputs.alpha, inputs.size],
            show_progress="hidden",
            api_visibility="private",
        )
        events += [painting(each, self._first) for each in (adopted.success, *self._shown)]
        stop.click(None, cancels=events)

    def _endpoints(self) -> None:
        """What `gradio_client` calls."""

        async def paint(
            photograph: str, painting: str, alpha: float, beta: float, size: int, model: str
        ) -> AsyncGenerator[Any, None]:
            """Paint a photograph in the manner of a painting; the answer is a PNG file."""
            settings = Settings(photograph, painting, alpha, beta, size, model)
            with TemporaryDirectory() as folder:
                async with aclosing(painted(settings, self._painters)) as steps:
                    async for step in steps:
                        yield write_pair(step, settings, Path(folder))[1] if step else gradio.skip()

        def models() -> list[str]:
            """The models that can be chosen; the page opens on the first."""
            return self._painters.offered

        answer = gradio.Image(visible=False, type="filepath", label="Painted")
        event = gradio.Button(visible=False).click
        _paints(event, self._first, fn=paint, inputs=list(self._inputs[:-1]), outputs=answer, api_name="paint")
        gradio.api(models, api_name="models")


def _paints(listen: Any, painter: Painter, **event: Any) -> Any:
    """An event that paints: as many at once as the model's limits allow, and the last of several of one visitor."""
    at_once = painter.limits.at_once
    return listen(trigger_mode="always_last", concurrency_id="paint", concurrency_limit=at_once, **event)


def open_demo(
    project: Project | None,
    models: Sequence[str] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    limits: Mapping[str, int] | None = None,
    browser: bool = False,
) -> None:
    """Serve the page until the process is stopped.

    Args:
        project: whose networks, registered models and held-out pictures are offered; None: `models` alone, and pictures
            of this package.
        models: further folders of models and MLflow addresses; the page opens on the first.
        host, browser: see `serve_page`.
        port: 0 takes a free one.
        limits: override those of each model, see `Limits`.

    Raises:
        UserError: there is no model or the first can't be opened, or nothing can listen at the address.
    """
    port = usable_port(host, port)
    painters = Painters(project, models, limits or {})
    domains: tuple[Domain, Domain] = ("content", "style")
    photographs, paintings = (Samples(sample_files(project, d), PICTURES / "samples" / d, MOST[d]) for d in domains)
    page = Demo(painters, photographs, paintings).page
    max_bytes = painters.painter(painters.offered[0]).limits.max_bytes
    serve_page(page, host, port, max_bytes=max_bytes, css=CSS, browser=browser)
