"""The demo as a Space of Hugging Face, or a container, starts it; options are hclip-demo's."""

import os
import sys

from hclip_tools.demo import main

if __name__ == "__main__":
    host, port = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"), os.environ.get("GRADIO_SERVER_PORT", "7860")
    main(["--host", host, "--port", port, *sys.argv[1:]])
