"""The one exception for a user's mistakes."""


class UserError(Exception):
    """A mistake that the user can fix.

    The message is one line: what is wrong, where (file, key, image, line), and what would be right. Commands print it
    without a traceback and exit with code 2 (see `src.common.program.run_command`).
    """
