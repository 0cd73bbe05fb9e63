"""Rendio on one machine: `make run`, and the servers of tests.

    run            the supervisor behind `make run`
    manage         runs a manage.py command beside it
    pytest_plugin  gives a test run its servers
    data_dir       the folder that holds everything
    servers        PostgreSQL and Valkey from their wheels
    stack          the application's own processes
    child_process  a process that cannot outlive its parent

Nothing here is imported by the application, and nothing here imports it or Django.
"""
