-- What a refund of a charge gives back to each of its lots, less a fee in credits, in the order in
-- which lots are spent. The first lots bear the fee, as if only the fee had been charged.
CREATE OR REPLACE FUNCTION credits_refundable_parts(lots jsonb, fee integer)
RETURNS TABLE (lot_id uuid, part integer)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_variable
DECLARE
    kept integer;
    charged record;
BEGIN
    FOR charged IN
        SELECT lot.id, -(item.pair ->> 1)::integer AS taken
        FROM jsonb_array_elements(lots) item (pair)
        JOIN credits_lot lot ON lot.id = (item.pair ->> 0)::uuid
        ORDER BY lot.expires_at NULLS LAST, lot.id
    LOOP
        kept := least(fee, charged.taken);
        fee := fee - kept;
        lot_id := charged.id;
        part := charged.taken - kept;
        RETURN NEXT;
    END LOOP;
END $$;
