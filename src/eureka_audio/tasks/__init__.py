"""Task formulations: what a clip is put to in training, and what it is asked in evaluation."""

from eureka_audio.tasks.catalogue import QUESTIONS, TASKS, Task, check_weights, draw_task
from eureka_audio.tasks.evaluation import EvaluationItem, evaluation_items

__all__ = [
    "QUESTIONS",
    "TASKS",
    "EvaluationItem",
    "Task",
    "check_weights",
    "draw_task",
    "evaluation_items",
]
