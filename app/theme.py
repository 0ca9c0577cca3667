"""The page's look: colours, type and shapes, for light and dark. Style rules are in ``static/*.css``."""

import gradio as gr

# One colour a side, everywhere on the page. Blue and vermilion of Okabe and Ito's palette are told apart in every
# common kind of colour blindness; the style sheet has the tints of both for text and for dark pages.
FULL = "#0072B2"
PRUNED = "#D55E00"

INK = gr.themes.Color(
    name="ink",
    c50="#f7f8f9",
    c100="#eef0f2",
    c200="#e0e3e7",
    c300="#c9ced5",
    c400="#98a1ad",
    c500="#6b7480",
    c600="#525b66",
    c700="#3a424c",
    c800="#232930",
    c900="#181c21",
    c950="#101317",
)


def theme() -> gr.themes.Base:
    """Neutral greys, so that the only colours are those of the two sides; system fonts, so that nothing is fetched."""
    look = gr.themes.Base(
        primary_hue=INK,
        secondary_hue=INK,
        neutral_hue=INK,
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_md,
        font=("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"),
        font_mono=("ui-monospace", "SFMono-Regular", "Consolas", "monospace"),
    )
    return look.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="*neutral_800",
        border_color_primary="*neutral_200",
        border_color_primary_dark="*neutral_800",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="0px",
        block_shadow="none",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_400",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_300",
        block_title_text_weight="500",
        input_background_fill="white",
        input_background_fill_dark="*neutral_950",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
        input_border_width="1px",
        input_border_color_focus="*neutral_600",
        input_border_color_focus_dark="*neutral_400",
        button_primary_background_fill="*neutral_900",
        button_primary_background_fill_hover="*neutral_700",
        button_primary_background_fill_dark="*neutral_100",
        button_primary_background_fill_hover_dark="white",
        button_primary_text_color="white",
        button_primary_text_color_dark="*neutral_900",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_900",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_hover_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_large_text_weight="600",
        slider_color=PRUNED,
        slider_color_dark="#F08A4B",
    )
