"""Chat templates in the manner of the families' checkpoints: their headers, their order, what they want of contents."""

_PARTS = (
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
)
# Some write the images of a turn first, wherever they stand in it.
_IMAGES_FIRST = (
    "{% for part in message['content'] if part['type'] == 'image' %}IMAGE{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
)


def chatml(image: str, system: str = "", parts: str = _PARTS) -> str:
    """Qwen's: ``<|im_start|>user``, the text, ``<|im_end|>``; with a system text where the chat has none."""
    start = (
        f"{{% if loop.first and message['role'] != 'system' %}}<|im_start|>system\n{system}<|im_end|>\n{{% endif %}}"
    )
    return (
        "{% for message in messages %}" + (start if system else "") + "{{ '<|im_start|>' + message['role'] + '\n' }}"
        f"{parts.replace('IMAGE', image)}{{{{ '<|im_end|>\n' }}}}{{% endfor %}}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


def instruct(image: str, start: str = "") -> str:
    """Mistral's: ``[INST] text [/INST] answer</s>``; an answer must be a list of one text."""
    return (
        start + "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
        f"{_IMAGES_FIRST.replace('IMAGE', image)}"
        "{{ ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        "{{ ' ' + message['content'][0]['text'] + '</s> ' }}{% endif %}{% endfor %}"
    )


LLAVA_NEXT = instruct("<image>\n")
ONEVISION = chatml("<image>\n", parts=_IMAGES_FIRST)
QWEN = chatml("<|vision_start|><|image_pad|><|vision_end|>", "You are a helpful assistant.")
INTERNVL = chatml("<IMG_CONTEXT>\n")
IDEFICS = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    f"{_PARTS.replace('IMAGE', '<image>')}<end_of_utterance>\n{{% endfor %}}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
    f"{_PARTS.replace('IMAGE', '<start_of_image>')}{{{{ '<end_of_turn>\n' }}}}{{% endfor %}}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = instruct("[IMG]", "{{ bos_token }}[SYSTEM_PROMPT]You are a model in Paris, made by people.[/SYSTEM_PROMPT]")
# An answer is written as it is: as a list it would be code.
GLM = (
    "[gMASK]<sop>{% for message in messages %}{% if message['role'] == 'user' %}<|user|>\n"
    f"{_PARTS.replace('IMAGE', '<|begin_of_image|><|image|><|end_of_image|>')}"
    "{% else %}<|assistant|>\n{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
