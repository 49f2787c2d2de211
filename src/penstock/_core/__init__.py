"""Floor 1: the pool as a state machine without I/O.

Rules of this floor:

1. Nothing here knows trio, a clock, a random source, a logger or a socket. `now` is a parameter of every event, chance
   is a callable that the owner passes in.
2. `machine.PoolMachine` is the only entry. Its methods are named after what happened; what should be done about it
   is answered as a list of small actions (`actions`), and by the connection itself where a hit needs nothing else.
3. The ledger is the truth. Nobody asks a connection what it is: a connection counts as taken in the same step that
   hands it over, and a slot is counted from before the dial until after the close.
4. Every close, refusal and retry carries its reason.
5. An operation costs the same whether ten connections exist or ten thousand; only time order costs a logarithm.
"""
