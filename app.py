r"""A page on which one drops an image or a clip and sees what the detector finds; programs get the JSON of infer.py.

    python app.py --checkpoint_path outputs/first/detector.onnx
    curl --data-binary @street.jpg http://127.0.0.1:8000/detect

--checkpoint_path is a checkpoint or an exported file (.ckpt, .onnx, .mindir). The configuration is --config_path, else
the one that was saved with the checkpoint; an exported file without one is described by its JSON. All other keys are
those of infer.py: --tile 640, --tta flip, --runtime, --max_image_pixels (here 30,000,000 unless you say otherwise).

POST /detect takes an image and gives what infer.py writes for it; POST /detect_video takes a video and gives a line of
JSON for each frame. What is wrong is {"error": "one line"}: status 400 for what cannot be read, 413 for what is too
large, 503 while too many requests wait. Needs starlette and uvicorn: pip install starlette uvicorn
"""

from src.commands.app.options import OPTIONS
from src.common.program import run_command
from src.config import words_of_command_line


def main() -> None:
    """Read the command line, then answer until a signal comes."""
    config_path, keys, options = words_of_command_line(__doc__, OPTIONS)

    from src.commands.app.server import serve

    serve(config_path, keys, options)


if __name__ == "__main__":
    run_command(main)
