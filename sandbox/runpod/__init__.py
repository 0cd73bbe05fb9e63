"""RunPod's serverless endpoints: queues of jobs, and webhooks without a signature."""
