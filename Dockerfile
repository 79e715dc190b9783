# The demo on a CPU: docker build -t hclip-demo . && docker run -p 7860:7860 hclip-demo [--model NAME ...]
FROM python:3.11-slim

RUN useradd --create-home user
USER user
ENV PATH=/home/user/.local/bin:$PATH PIP_NO_CACHE_DIR=1
WORKDIR /home/user/app
COPY --chown=user . .
RUN pip install --user --extra-index-url https://download.pytorch.org/whl/cpu ".[demo]"

EXPOSE 7860
ENTRYPOINT ["python", "app.py"]
