

def test_a_create_that_runs_twice_makes_one_transaction(
    connection: Connection, merchant: TestUser
) -> None:
    new = transaction_service.NewTransaction(amount="5.00")

    first, second = (
        transaction_service.create(connection, merchant.digest, ORIGIN, new, ttl_seconds=900)
        for _ in range(2)
    )

    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
