"""Trainings of models on users' images, and the models that come of them.

A training is a job: submission, webhooks, deadlines, cancellation and refund are those of
generation.lifecycle. Here are its images and its order, and what becomes of its result.
"""
