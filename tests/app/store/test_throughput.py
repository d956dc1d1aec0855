from app.store.runs.throughput import WINDOW_S, Throughput


def test_tokens_per_second_are_those_of_the_last_seconds() -> None:
    now = [100.0]
    throughput = Throughput(lambda: now[0])
    for _ in range(30):
        throughput.count(2)
        now[0] += 0.5
    assert throughput.per_second == 4.0
    now[0] += WINDOW_S + 1
    assert throughput.per_second == 0.0


def test_the_second_that_goes_on_is_not_counted_yet() -> None:
    throughput = Throughput(lambda: 7.5)
    throughput.count(100)
    assert throughput.per_second == 0.0
