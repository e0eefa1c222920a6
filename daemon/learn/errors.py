"""What can go wrong while learning, as sentences."""


class LearnError(Exception):
    """Learning failed."""

    hint = "Look at the job's last error: lorefeed status"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class ModelNotFound(LearnError):
    """The configured model cannot be loaded."""

    hint = "Set model to 'embedded', a folder with a Hugging Face causal language model, or a model id that this machine has downloaded."


class TooLong(LearnError):
    """A definition is longer than the model's context."""

    hint = "Reject the definition, or use a model with a longer context."


class NothingToLearn(LearnError):
    """No example survived the filters."""

    hint = "The model never named the entity when it wrote about it; raise elicit.samples or configure an elicit endpoint."


class NotFinite(LearnError):
    """The loss or a weight stopped being a finite number."""

    hint = "Lower learn.learning_rate."
