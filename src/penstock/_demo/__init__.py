"""The demo behind `penstock demo`: what a pool changes, measured on this machine.

Four processes: the one the user started shows and judges; its children are the TLS server (`server`), the emulated
network (`relay`) and the client that is measured (`load`). The client alone imports Penstock's engine, so its CPU
time is the client's and nothing else's. Each child ends when its standard input ends, so none outlives the first.
"""
