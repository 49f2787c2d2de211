"""What a competitor's process can be asked to do. Each module has `measure(competitor, server, **arguments)`.

It is a coroutine function that returns numbers; the arguments are those of the job, as the parent sent it.
"""
