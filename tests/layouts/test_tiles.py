"""Tiles are those that the processor made of each picture, whatever a tokenizer makes of their names."""

import pytest
import torch
from asking import PICTURES, QUESTIONS, ask, inputs_of, member

import resprune
from resprune.layouts import layout_of
from resprune.question.prompt import build_inputs, question_of

FAMILIES = ("idefics3", "idefics3_plain", "smolvlm")


@pytest.fixture(params=FAMILIES)
def tiny(request):
    return member(request.param)


def made(processor, pictures):
    """How many tiles the image processor cuts each picture into, the whole picture included."""
    counted = processor.image_processor([pictures], return_row_col_info=True)
    return [rows * cols + 1 for rows, cols in zip(counted["rows"][0], counted["cols"][0], strict=True)]


def found(model, inputs):
    """How many tiles the layout finds of each picture."""
    return [len(places[:, 0].unique()) for places in layout_of(model).coords(model, [], inputs)]


@pytest.mark.parametrize("between", ["", "\n", " and "])
@pytest.mark.parametrize("splitting", [True, False])
def test_those_of_each_picture_are_found(tiny, between, splitting):
    model, processor = tiny
    pictures = [PICTURES[0], PICTURES[2], PICTURES[1].resize((90, 20))]
    text = between.join(["<image>"] * 3) + "Who?"
    options = {} if splitting else {"images_kwargs": {"do_image_splitting": False}}
    inputs = processor(images=[pictures], text=[text], return_tensors="pt", **options)
    assert found(model, inputs) == (made(processor, pictures) if splitting else [1, 1, 1])
    assert len(set(made(processor, pictures))) == 3


def test_a_budget_is_one_of_each_picture_also_of_encoded_ones(tiny):
    model, processor = tiny
    inputs = inputs_of(processor, [(0, 1), (1, 2)])
    rest = {name: value for name, value in inputs.items() if name != "pixel_values"}
    with resprune.pruned(model, processor, keep=5):
        ask(model, inputs)
        seen = model.resprune.last
        ask(model, {**rest, "mm_encoder_outputs": {"image": resprune.encode(model, inputs)}})
        again = model.resprune.last
    assert [result.tokens_kept for result in seen] == [5, 5, 5]
    assert [result.kept for result in seen] == [result.kept for result in again]


def test_their_names_are_no_words_of_the_question(tiny):
    _, processor = tiny
    assert question_of(processor, inputs_of(processor, [(1, 2)])["input_ids"][0]) == QUESTIONS[1]
    typed = "Is <row_1_col_1> in <global-img>?"
    assert question_of(processor, build_inputs(processor, PICTURES[0], typed)["input_ids"][0]) == typed


def test_names_that_are_text_are_ordinary_tokens():
    """Else the row of the zoo would not show what it is for."""
    tokenizer = member("idefics3_plain")[1].tokenizer
    ends = {tokenizer(name, add_special_tokens=False).input_ids[-1] for name in ("<row_1_col_1>", "<global-img>")}
    assert len(ends) == 1 and not ends & set(tokenizer.added_tokens_decoder)


@pytest.mark.parametrize("wrong", ["a tile is cut short", "the frames are missing", "the prompt ends with a tile"])
def test_a_prompt_that_the_processor_did_not_write_is_refused(tiny, wrong):
    model, processor = tiny
    inputs = inputs_of(processor, [(0, 1)])
    ids = inputs["input_ids"][0]
    frame = processor.tokenizer.convert_tokens_to_ids(processor.fake_image_token)
    columns = (ids == model.config.image_token_id).nonzero()[:, 0]
    ids = {
        "a tile is cut short": torch.cat([ids[: columns[3]], ids[columns[3] + 1 :]]),
        "the frames are missing": ids[ids != frame],
        "the prompt ends with a tile": ids[: columns[-1] + 1],
    }[wrong]
    given = {**inputs, "input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
    given.pop("mm_token_type_ids", None)
    with resprune.pruned(model, processor, keep=5), pytest.raises(resprune.InputError, match="do not truncate prompts"):
        ask(model, given)
