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


def instruct(image: str, start: str = "", end: str = "</s>") -> str:
    """Mistral's: ``[INST] text [/INST] answer</s>``; an answer must be a list of one text."""
    return (
        start + "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
        f"{_IMAGES_FIRST.replace('IMAGE', image)}"
        "{{ ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        "{{ ' ' + message['content'][0]['text'] + '" + end + " ' }}{% endif %}{% endfor %}"
    )


_SYS = (
    "{% for message in messages if message['role'] == 'system' %}"
    "{{ '<<SYS>>\n' + message['content'][0]['text'] + '\n<</SYS>>\n\n' }}{% endfor %}"
)
LLAVA_NEXT = instruct("<image>\n", _SYS)
LLAVA_NEXT_MISTRAL = instruct("<image>\n", _SYS, end="<\\\\s>")  # what its template writes is not its end of text
ONEVISION = chatml("<image>\n", parts=_IMAGES_FIRST)
QWEN = chatml("<|vision_start|><|image_pad|><|vision_end|>", "You are a helpful assistant.")
INTERNVL = chatml("<IMG_CONTEXT>\n")
IDEFICS = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    f"{_PARTS.replace('IMAGE', '<image>')}<end_of_utterance>\n{{% endfor %}}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
# A system text is the first words of the user.
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'][0]['text'] + '\n\n' %}{% set messages = messages[1:] %}"
    "{% else %}{% set first = '' %}{% endif %}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
    "{{ first if loop.first else '' }}"
    f"{_PARTS.replace('IMAGE', '<start_of_image>')}{{{{ '<end_of_turn>\n' }}}}{{% endfor %}}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_SYSTEM_PROMPT = (
    "{{ bos_token }}[SYSTEM_PROMPT]{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'][0]['text'] }}"
    "{% else %}You are a model in Paris, made by people.{% endif %}[/SYSTEM_PROMPT]"
)
MISTRAL = instruct("[IMG]", _SYSTEM_PROMPT)
# An answer is written as it is: as a list it would be code.
GLM = (
    "[gMASK]<sop>{% for message in messages %}{% if message['role'] == 'system' %}<|system|>\n"
    "{{ message['content'][0]['text'] }}{% elif message['role'] == 'user' %}<|user|>\n"
    f"{_PARTS.replace('IMAGE', '<|begin_of_image|><|image|><|end_of_image|>')}"
    "{% else %}<|assistant|>\n{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
