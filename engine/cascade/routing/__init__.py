"""What decides who answers: recorded answers, their signals, scores and routers, the guard."""
