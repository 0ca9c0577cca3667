"""What pyproject.toml cannot say: a built package carries the bundled model, which a checkout keeps in ``assets``."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ("LICENSES.md", "bundled", "sprites")  # what the library reads; the page's own pictures stay out


class BuildWithModel(build_py):
    """Copies them into the package; an editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source, target in self._carried():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        carried = [] if self.editable_mode else [str(target) for _, target in self._carried()]
        return super().get_outputs(include_bytecode) + carried

    def _carried(self) -> list[tuple[Path, Path]]:
        assets, package = Path(__file__).parent / "assets", Path(self.build_lib) / "resprune" / "assets"
        named = [assets / name for name in CARRIED]
        files = [f for path in named for f in ([path] if path.is_file() else sorted(path.rglob("*"))) if f.is_file()]
        return [(file, package / file.relative_to(assets)) for file in files]


setup(cmdclass={"build_py": BuildWithModel})
