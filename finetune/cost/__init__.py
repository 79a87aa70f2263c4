"""What training costs: operations, memory and time, predicted before a run and measured beside a peer."""
